import {randomBytes} from 'node:crypto'
import {Denial} from '../denial.js'

/** WebSocket framing (RFC 6455), without extensions: so every byte of a message can be looked at. */

export const opcode = {continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10} as const

export interface Message {
  /** text, binary, close, ping or pong */
  opcode: number
  payload: Buffer
}

const MAX_MESSAGE = 4 * 1024 * 1024
const MAX_FRAMES = 4096
const MAX_CONTROL = 125

interface Header {
  final: boolean
  opcode: number
  length: number
  mask: Buffer | undefined
  /** bytes of the header itself */
  size: number
}

/** Takes bytes in any pieces and gives back whole messages. Throws Denial for what breaks the protocol or a limit. */
export class MessageReader {
  readonly #masked: boolean
  #pending: Buffer = Buffer.alloc(0)
  #fragments: Buffer[] = []
  #fragmentBytes = 0
  #fragmentOpcode: number | undefined

  /** @param masked frames of a client must be masked, those of a server must not */
  constructor(masked: boolean) {
    this.#masked = masked
  }

  push(chunk: Buffer): Message[] {
    this.#pending = this.#pending.length === 0 ? chunk : Buffer.concat([this.#pending, chunk])
    const messages: Message[] = []
    for (;;) {
      const header = this.#header()
      if (!header || this.#pending.length < header.size + header.length) return messages
      const payload = Buffer.from(this.#pending.subarray(header.size, header.size + header.length))
      this.#pending = this.#pending.subarray(header.size + header.length)
      if (header.mask) applyMask(payload, header.mask)
      const message = this.#assemble(header, payload)
      if (message) messages.push(message)
    }
  }

  #header(): Header | undefined {
    const bytes = this.#pending
    const [first, second] = bytes
    if (first === undefined || second === undefined) return undefined
    if (first & 0x70) throw broken('reserved bits')
    const short = second & 0x7f
    const extended = short === 126 ? 2 : short === 127 ? 8 : 0
    const masked = (second & 0x80) !== 0
    if (masked !== this.#masked) throw broken('mask')
    const size = 2 + extended + (masked ? 4 : 0)
    if (bytes.length < size) return undefined
    const length =
      extended === 0 ? short : extended === 2 ? bytes.readUInt16BE(2) : Number(bytes.readBigUInt64BE(2))
    const header = {final: (first & 0x80) !== 0, opcode: first & 0x0f, length, size}
    const isControl = header.opcode >= opcode.close
    if (!(Object.values(opcode) as number[]).includes(header.opcode)) throw broken('opcode')
    if (isControl && (length > MAX_CONTROL || !header.final)) throw broken('control frame')
    if (length > MAX_MESSAGE) throw tooLarge()
    return {...header, mask: masked ? Buffer.from(bytes.subarray(size - 4, size)) : undefined}
  }

  #assemble(header: Header, payload: Buffer): Message | undefined {
    if (header.opcode >= opcode.close) return {opcode: header.opcode, payload}
    if ((header.opcode === opcode.continuation) !== (this.#fragmentOpcode !== undefined))
      throw broken('continuation')
    this.#fragmentOpcode ??= header.opcode
    this.#fragments.push(payload)
    this.#fragmentBytes += payload.length
    if (this.#fragmentBytes > MAX_MESSAGE || this.#fragments.length > MAX_FRAMES) throw tooLarge()
    if (!header.final) return undefined
    const message = {opcode: this.#fragmentOpcode, payload: Buffer.concat(this.#fragments)}
    this.#fragments = []
    this.#fragmentBytes = 0
    this.#fragmentOpcode = undefined
    return message
  }
}

/** One frame; masked as a client must. */
export function encodeMessage(message: Message, masked: boolean): Buffer {
  const {length} = message.payload
  const extended = length < 126 ? 0 : length < 0x10000 ? 2 : 8
  const head = Buffer.alloc(2 + extended)
  head.writeUInt8(0x80 | message.opcode, 0)
  const short = extended === 0 ? length : extended === 2 ? 126 : 127
  head.writeUInt8((masked ? 0x80 : 0) | short, 1)
  if (extended === 2) head.writeUInt16BE(length, 2)
  if (extended === 8) head.writeBigUInt64BE(BigInt(length), 2)
  if (!masked) return Buffer.concat([head, message.payload])
  const mask = randomBytes(4)
  const payload = Buffer.from(message.payload)
  applyMask(payload, mask)
  return Buffer.concat([head, mask, payload])
}

/** The last word to either side: a policy violation, by number and reason. */
export function closeMessage(reason: string): Message {
  const payload = Buffer.alloc(2 + Buffer.byteLength(reason))
  payload.writeUInt16BE(1008, 0)
  payload.write(reason, 2)
  return {opcode: opcode.close, payload: payload.subarray(0, MAX_CONTROL)}
}

function applyMask(bytes: Buffer, mask: Buffer): void {
  for (let index = 0; index < bytes.length; index++)
    bytes.writeUInt8((bytes[index] ?? 0) ^ (mask[index & 3] ?? 0), index)
}

function broken(what: string): Denial {
  return new Denial('websocket_protocol', {status: 400, detail: what})
}

function tooLarge(): Denial {
  return new Denial('body_over_limit', {status: 413})
}
