import {ByteReader} from './byte-reader.js'

/**
 * pkt-line framing, gitprotocol-common(5): four hex digits count themselves and the payload.
 * Parsed strictly: what git would not send is an error, never a guess.
 */

export const MAX_PACKET = 65520
/** payload of one side-band-64k packet without its channel byte */
export const MAX_BAND = MAX_PACKET - 5

export const flush: Buffer = Buffer.from('0000')

/** The framing is broken: nothing after it can be trusted. */
export class FramingError extends Error {
  override name = 'FramingError'
}

export function packet(payload: string | Buffer): Buffer {
  const bytes = typeof payload === 'string' ? Buffer.from(payload) : payload
  const length = bytes.length + 4
  if (length > MAX_PACKET) throw new RangeError(`a packet of ${length} bytes`)
  return Buffer.concat([Buffer.from(length.toString(16).padStart(4, '0')), bytes])
}

/** `channel` 1 carries data, 2 text for the person, 3 a fatal error. */
export function band(channel: 1 | 2 | 3, payload: string | Buffer): Buffer {
  const bytes = typeof payload === 'string' ? Buffer.from(payload) : payload
  const packets: Buffer[] = []
  for (let start = 0; start < bytes.length; start += MAX_BAND) {
    packets.push(packet(Buffer.concat([Buffer.from([channel]), bytes.subarray(start, start + MAX_BAND)])))
  }
  return Buffer.concat(packets)
}

export type Packet = {kind: 'data'; payload: Buffer} | {kind: 'flush'}

/** Reads packets off a byte stream, then hands over what follows them. */
export class PacketReader extends ByteReader {
  /** @returns undefined at a clean end of the stream */
  async next(): Promise<Packet | undefined> {
    const digits = (await this.peek(4)).toString('latin1')
    if (digits === '') return undefined
    if (digits.length < 4) throw new FramingError('the stream ends inside a packet length')
    if (!/^[0-9a-fA-F]{4}$/.test(digits)) throw new FramingError('a packet length is not four hex digits')
    const length = parseInt(digits, 16)
    if (length === 0) {
      await this.take(4)
      return {kind: 'flush'}
    }
    if (length < 4 || length > MAX_PACKET) throw new FramingError(`packet length ${length} is not valid here`)
    const bytes = await this.take(length)
    if (bytes.length < length) throw new FramingError('the stream ends inside a packet')
    return {kind: 'data', payload: bytes.subarray(4)}
  }
}
