/** DNS wire format (RFC 1035), as much as one question and its addresses need. */

export const recordType = {A: 1, CNAME: 5, AAAA: 28, OPT: 41} as const
export const responseCode = {
  noError: 0,
  formatError: 1,
  serverFailure: 2,
  nameError: 3,
  notImplemented: 4,
  refused: 5,
} as const

export interface Question {
  id: number
  /** lower case, labels of visible ASCII without dots inside, no trailing dot; empty for the root */
  name: string
  type: number
  class: number
  /** the EDNS option record was there */
  edns: boolean
  recursionDesired: boolean
  /** offset behind the question */
  end: number
}

const HEADER = 12
const MAX_QUERY = 1232
const IN = 1

/**
 * The one question of a query, or the response code with which to refuse it, or undefined for what deserves no answer
 * (answers, fragments). Compression in a question, several questions and odd bytes in labels are refused.
 */
export function parseQuery(packet: Buffer): Question | {id: number; refuse: number} | undefined {
  if (packet.length < HEADER || packet.length > MAX_QUERY) return undefined
  const id = packet.readUInt16BE(0)
  const flags = packet.readUInt16BE(2)
  if (flags & 0x8000) return undefined
  if ((flags >> 11) & 0xf) return {id, refuse: responseCode.notImplemented}
  const counts = [4, 6, 8, 10].map((at) => packet.readUInt16BE(at))
  const [questions = 0, answers = 0, authorities = 0, additional = 0] = counts
  if (questions !== 1 || answers || authorities || additional > 1)
    return {id, refuse: responseCode.formatError}
  const name = readPlainName(packet, HEADER)
  if (!name || name.end + 4 > packet.length) return {id, refuse: responseCode.formatError}
  const end = name.end + 4
  const edns = additional === 1
  if (edns ? !isOptionRecord(packet, end) : end !== packet.length)
    return {id, refuse: responseCode.formatError}
  return {
    id,
    name: name.text,
    type: packet.readUInt16BE(name.end),
    class: packet.readUInt16BE(name.end + 2),
    edns,
    recursionDesired: (flags & 0x0100) !== 0,
    end,
  }
}

function isOptionRecord(packet: Buffer, at: number): boolean {
  if (at + 11 > packet.length || packet[at] !== 0 || packet.readUInt16BE(at + 1) !== recordType.OPT)
    return false
  return at + 11 + packet.readUInt16BE(at + 9) === packet.length
}

function readPlainName(packet: Buffer, start: number): {text: string; end: number} | undefined {
  const labels: string[] = []
  let at = start
  for (;;) {
    const length = packet[at]
    if (length === undefined || length > 63 || at + 1 + length > packet.length) return undefined
    if (length === 0) break
    const label = packet.toString('latin1', at + 1, at + 1 + length)
    if (!/^[!-~]+$/.test(label) || label.includes('.')) return undefined
    labels.push(label.toLowerCase())
    at += 1 + length
  }
  if (at + 1 - start > 255) return undefined
  return {text: labels.join('.'), end: at + 1}
}

export interface Answer {
  /** one IPv4 address; absent = no data */
  address?: string
  code: number
  /** seconds */
  ttl: number
}

/** The response to a parsed question; the question is echoed byte for byte, letter case included. */
export function buildResponse(query: Buffer, question: Question, answer: Answer): Buffer {
  const head = Buffer.from(query.subarray(0, question.end))
  writeHeader(head, question.recursionDesired, answer.code)
  const records: Buffer[] = []
  if (answer.address !== undefined) {
    const record = Buffer.alloc(16)
    record.writeUInt16BE(0xc000 | HEADER, 0)
    record.writeUInt16BE(recordType.A, 2)
    record.writeUInt16BE(IN, 4)
    record.writeUInt32BE(answer.ttl, 6)
    record.writeUInt16BE(4, 10)
    answer.address.split('.').forEach((part, index) => record.writeUInt8(Number(part), 12 + index))
    records.push(record)
  }
  head.writeUInt16BE(records.length, 6)
  if (question.edns) {
    records.push(Buffer.from([0, 0, recordType.OPT, MAX_QUERY >> 8, MAX_QUERY & 0xff, 0, 0, 0, 0, 0, 0]))
    head.writeUInt16BE(1, 10)
  }
  return Buffer.concat([head, ...records])
}

/** A bare header with a response code, for a query whose question cannot be echoed. */
export function buildRefusal(refused: {id: number; refuse: number}): Buffer {
  const head = Buffer.alloc(HEADER)
  head.writeUInt16BE(refused.id, 0)
  writeHeader(head, false, refused.refuse)
  head.writeUInt16BE(0, 4)
  return head
}

function writeHeader(head: Buffer, recursionDesired: boolean, code: number): void {
  // response, recursion available
  head.writeUInt16BE(0x8080 | (recursionDesired ? 0x0100 : 0) | code, 2)
  head.fill(0, 6, HEADER)
}

/** A query for the IPv4 addresses of a canonical name. */
export function buildQuery(id: number, name: string): Buffer {
  const head = Buffer.alloc(HEADER)
  head.writeUInt16BE(id, 0)
  head.writeUInt16BE(0x0100, 2)
  head.writeUInt16BE(1, 4)
  const labels = name
    .split('.')
    .map((label) => Buffer.concat([Buffer.from([label.length]), Buffer.from(label, 'latin1')]))
  return Buffer.concat([head, ...labels, Buffer.from([0, 0, recordType.A, 0, IN])])
}

export interface Addresses {
  code: number
  truncated: boolean
  addresses: string[]
  /** the smallest of the chain, seconds */
  ttl: number
}

/**
 * The IPv4 addresses in a response to `query`, aliases followed inside this response only.
 * Undefined when it is no answer to exactly this query.
 */
export function parseResponse(packet: Buffer, query: Buffer, name: string): Addresses | undefined {
  if (packet.length < query.length || packet.readUInt16BE(0) !== query.readUInt16BE(0)) return undefined
  const flags = packet.readUInt16BE(2)
  if (!(flags & 0x8000) || packet.readUInt16BE(4) !== 1) return undefined
  if (
    packet.toString('latin1', HEADER, query.length).toLowerCase() !==
    query.toString('latin1', HEADER).toLowerCase()
  )
    return undefined
  const found: Addresses = {code: flags & 0xf, truncated: (flags & 0x0200) !== 0, addresses: [], ttl: 3600}
  const aliases = new Set([name])
  let at = query.length
  for (let left = packet.readUInt16BE(6); left > 0; left--) {
    const owner = readName(packet, at)
    if (!owner || owner.end + 10 > packet.length) return found.truncated ? found : undefined
    const type = packet.readUInt16BE(owner.end)
    const isInternet = packet.readUInt16BE(owner.end + 2) === IN
    const ttl = packet.readUInt32BE(owner.end + 4)
    const data = owner.end + 10
    at = data + packet.readUInt16BE(owner.end + 8)
    if (at > packet.length) return found.truncated ? found : undefined
    if (!isInternet || !aliases.has(owner.text)) continue
    if (type === recordType.CNAME) {
      const alias = readName(packet, data)
      if (alias) aliases.add(alias.text)
    } else if (type === recordType.A && at - data === 4) {
      found.addresses.push(packet.subarray(data, at).join('.'))
    } else continue
    found.ttl = Math.min(found.ttl, ttl)
  }
  return found
}

/** A name with compression pointers, which may only point backwards. */
function readName(packet: Buffer, start: number): {text: string; end: number} | undefined {
  const labels: string[] = []
  let at = start
  let end: number | undefined
  let total = 0
  for (;;) {
    const length = packet[at]
    if (length === undefined) return undefined
    if (length >= 0xc0) {
      const low = packet[at + 1]
      if (low === undefined) return undefined
      const target = ((length & 0x3f) << 8) | low
      if (target >= at) return undefined
      end ??= at + 2
      at = target
      continue
    }
    if (length > 63 || at + 1 + length > packet.length) return undefined
    if (length === 0) return {text: labels.join('.').toLowerCase(), end: end ?? at + 1}
    total += length + 1
    if (total > 254) return undefined
    labels.push(packet.toString('latin1', at + 1, at + 1 + length))
    at += 1 + length
  }
}
