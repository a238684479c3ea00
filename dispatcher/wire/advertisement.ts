import {FramingError, PacketReader, type Packet} from './pkt-line.js'
import {zeroId, type ObjectFormat} from './receive-request.js'

/** What an upstream says it has, protocol versions 0 and 1 (gitprotocol-http). */
export interface Advertisement {
  /** branches and tags */
  refs: Map<string, string>
  capabilities: ReadonlySet<string>
  format: ObjectFormat
  /** full name of the default branch, when the upstream names one */
  head?: string
}

const MAX_REFS = 500_000

/** Errors: FramingError on what git would not send; Error with the upstream's own words for `ERR`. */
export async function readAdvertisement(body: AsyncIterable<Buffer>): Promise<Advertisement> {
  const reader = new PacketReader(body)
  const first = await reader.next()
  if (!textOf(first).startsWith('# service=git-'))
    throw new FramingError('the upstream does not speak smart HTTP')
  if ((await reader.next())?.kind !== 'flush')
    throw new FramingError('the upstream does not speak smart HTTP')
  const refs = new Map<string, string>()
  let words: string[] | undefined
  let lines = 0
  for (let next = await reader.next(); next?.kind === 'data'; next = await reader.next()) {
    const line = textOf(next)
    if (line.startsWith('ERR ')) throw new Error(line.slice('ERR '.length))
    if (words === undefined && line === 'version 1') continue
    const [ref = '', said] = line.split('\0')
    words ??= (said ?? '').split(' ').filter(Boolean)
    if (++lines > MAX_REFS) throw new FramingError(`the upstream has more than ${MAX_REFS} refs`)
    const [, id, name] =
      /^([0-9a-f]{40}|[0-9a-f]{64}) (refs\/(?:heads|tags)\/[^\s^~:?*[\\]+)$/.exec(ref) ?? []
    if (id !== undefined && name !== undefined) refs.set(name, id)
  }
  return described(refs, words ?? [])
}

function described(refs: Map<string, string>, words: readonly string[]): Advertisement {
  const valueOf = (name: string) => words.find((word) => word.startsWith(`${name}=`))?.slice(name.length + 1)
  const format = valueOf('object-format') ?? 'sha1'
  if (format !== 'sha1' && format !== 'sha256')
    throw new FramingError('the upstream has an unknown object format')
  const zero = zeroId(format)
  for (const id of refs.values())
    if (id.length !== zero.length) throw new FramingError('the upstream mixes object formats')
  const head = words
    .map((word) => /^symref=HEAD:(refs\/heads\/\S+)$/.exec(word)?.[1])
    .find((name) => name !== undefined)
  return {
    refs,
    capabilities: new Set(words.map((word) => word.replace(/=.*/s, ''))),
    format,
    ...(head === undefined ? {} : {head}),
  }
}

function textOf(packet: Packet | undefined): string {
  return packet?.kind === 'data' ? packet.payload.toString('utf8').replace(/\n$/, '') : ''
}
