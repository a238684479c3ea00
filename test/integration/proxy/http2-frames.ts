/** HTTP/2 by hand, so that a test can say what no library would. HPACK without tables and without Huffman coding. */

export const preface = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'
export const flag = {endStream: 1, ack: 1, endHeaders: 4} as const
export const type = {data: 0, headers: 1, reset: 3, settings: 4, goaway: 7, continuation: 9} as const

/** latin1, as the raw agent sends it */
export function frame(
  kind: number,
  flags: number,
  stream: number,
  payload: Buffer = Buffer.alloc(0),
): string {
  const head = Buffer.alloc(9)
  head.writeUIntBE(payload.length, 0, 3)
  head.writeUInt8(kind, 3)
  head.writeUInt8(flags, 4)
  head.writeUInt32BE(stream, 5)
  return Buffer.concat([head, payload]).toString('latin1')
}

export const settings = (): string => frame(type.settings, 0, 0)

export function headerBlock(pairs: readonly (readonly [string, string])[]): Buffer {
  const text = (value: string) => {
    const bytes = Buffer.from(value, 'latin1')
    if (bytes.length < 127) return Buffer.concat([Buffer.from([bytes.length]), bytes])
    const rest = bytes.length - 127
    const length = rest < 128 ? [127, rest] : [127, (rest & 127) | 128, rest >> 7]
    return Buffer.concat([Buffer.from(length), bytes])
  }
  return Buffer.concat(pairs.flatMap(([name, value]) => [Buffer.from([0x10]), text(name), text(value)]))
}

export function headers(
  stream: number,
  pairs: readonly (readonly [string, string])[],
  flags: number = flag.endHeaders | flag.endStream,
): string {
  return frame(type.headers, flags, stream, headerBlock(pairs))
}

export function request(
  host: string,
  over: Record<string, string> = {},
  extra: readonly (readonly [string, string])[] = [],
): [string, string][] {
  const pseudo = {':method': 'GET', ':scheme': 'https', ':authority': host, ':path': '/x', ...over}
  return [...Object.entries(pseudo), ...extra.map(([name, value]): [string, string] => [name, value])]
}

export const reset = (stream: number, code: number): string => {
  const payload = Buffer.alloc(4)
  payload.writeUInt32BE(code)
  return frame(type.reset, 0, stream, payload)
}

export interface Frame {
  kind: number
  flags: number
  stream: number
  payload: Buffer
}

export function framesOf(text: string): Frame[] {
  const bytes = Buffer.from(text, 'latin1')
  const found: Frame[] = []
  for (let at = 0; at + 9 <= bytes.length;) {
    const length = bytes.readUIntBE(at, 3)
    found.push({
      kind: bytes.readUInt8(at + 3),
      flags: bytes.readUInt8(at + 4),
      stream: bytes.readUInt32BE(at + 5) & 0x7fffffff,
      payload: bytes.subarray(at + 9, at + 9 + length),
    })
    at += 9 + length
  }
  return found
}

/** What a stream was answered: the body's text, or the code it was reset with. */
export function answerOf(text: string, stream: number): {body: string; reset?: number} {
  const own = framesOf(text).filter((one) => one.stream === stream)
  const body = Buffer.concat(
    own.filter(({kind}) => kind === type.data).map(({payload}) => payload),
  ).toString()
  const end = own.find(({kind}) => kind === type.reset)
  return end ? {body, reset: end.payload.readUInt32BE(0)} : {body}
}
