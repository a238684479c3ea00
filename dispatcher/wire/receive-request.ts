import type {PacketReader} from './pkt-line.js'

/** One line of a push: `ref` moves from `old` to `new`; all zeros = does not exist. */
export interface RefCommand {
  old: string
  new: string
  ref: string
}

export type ObjectFormat = 'sha1' | 'sha256'

export interface ReceiveRequest {
  commands: RefCommand[]
  /** what the client said it can do, before `=` */
  capabilities: ReadonlySet<string>
  /** why the whole request is refused, one line; the stream is still in step with the client */
  refusal?: string
}

const MAX_COMMANDS = 64
const MAX_REF_BYTES = 1024
const MAX_SHALLOW = 100_000

const flags = new Set([
  'report-status',
  'report-status-v2',
  'delete-refs',
  'side-band-64k',
  'quiet',
  'atomic',
  'ofs-delta',
])
const values = new Set(['agent', 'session-id'])

export function hexLength(format: ObjectFormat): number {
  return format === 'sha1' ? 40 : 64
}

export function zeroId(format: ObjectFormat): string {
  return '0'.repeat(hexLength(format))
}

/** What this side can do; `delete-refs` is named even where deletion is denied, so that the client asks and gets the reason. */
export function receiveCapabilities(format: ObjectFormat): string {
  return `report-status report-status-v2 delete-refs side-band-64k quiet atomic ofs-delta object-format=${format} agent=cage`
}

/** Reads the commands of a push up to their flush; the pack, if any, is what the reader yields next. */
export async function readReceiveRequest(
  reader: PacketReader,
  format: ObjectFormat,
): Promise<ReceiveRequest> {
  const commands: RefCommand[] = []
  let capabilities = new Set<string>()
  let refusal: string | undefined
  let shallow = 0
  let first = true
  for (let packet = await reader.next(); packet?.kind === 'data'; packet = await reader.next()) {
    if (refusal !== undefined && !first) continue
    let line = packet.payload
    if (first && isShallow(line, format)) {
      // Connectivity is checked against the whole repository, so where the client's history ends does not matter.
      if (++shallow > MAX_SHALLOW) refusal ??= 'too many shallow lines'
      continue
    }
    if (first) {
      first = false
      const nul = line.indexOf(0)
      if (nul >= 0) {
        const parsed = parseCapabilities(line.subarray(nul + 1).toString('latin1'), format)
        capabilities = parsed.names
        refusal ??= parsed.refusal
        line = line.subarray(0, nul)
      }
    }
    const command = parseCommand(line, format)
    if (typeof command === 'string') refusal ??= command
    else if (commands.length === MAX_COMMANDS) refusal ??= `more than ${MAX_COMMANDS} refs in one push`
    else if (commands.some(({ref}) => ref === command.ref)) refusal ??= 'the same ref twice in one push'
    else commands.push(command)
  }
  return {commands, capabilities, ...(refusal === undefined ? {} : {refusal})}
}

function isShallow(line: Buffer, format: ObjectFormat): boolean {
  return new RegExp(`^shallow [0-9a-f]{${hexLength(format)}}\\n?$`).test(line.toString('latin1'))
}

function parseCapabilities(text: string, format: ObjectFormat): {names: Set<string>; refusal?: string} {
  const names = new Set<string>()
  let refusal: string | undefined
  for (const word of text.replace(/\n$/, '').split(' ').filter(Boolean)) {
    const [name = '', value] = word.split(/=(.*)/s, 2)
    if (value === undefined ? flags.has(name) : values.has(name)) names.add(name)
    else if (name === 'object-format') {
      if (value !== format) refusal ??= `this repository uses ${format} object ids`
    } else refusal ??= 'the client asks for a capability that was not offered'
  }
  return {names, ...(refusal === undefined ? {} : {refusal})}
}

/** @returns the reason as text when the line is not a command */
function parseCommand(line: Buffer, format: ObjectFormat): RefCommand | string {
  const end = line.length - (line.at(-1) === 0x0a ? 1 : 0)
  const text = line.toString('utf8', 0, end)
  if (text.startsWith('push-cert')) return 'signed pushes are not supported'
  if (!Buffer.from(text).equals(line.subarray(0, end))) return 'ref names must be UTF-8'
  const digits = hexLength(format)
  const match = new RegExp(`^([0-9a-f]{${digits}}) ([0-9a-f]{${digits}}) ([^\\0\\n]+)$`).exec(text)
  const [, old, to, ref] = match ?? []
  if (old === undefined || to === undefined || ref === undefined) return 'malformed command'
  if (Buffer.byteLength(ref) > MAX_REF_BYTES) return `a ref name is longer than ${MAX_REF_BYTES} bytes`
  if (old === to && to === zeroId(format)) return 'a command neither creates, updates nor deletes'
  return {old, new: to, ref}
}
