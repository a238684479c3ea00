import {flush, FramingError, packet, PacketReader} from './pkt-line.js'

const MAX_OFFER = 256 * 1024

/**
 * What an upload-pack offers, without what would send the client to other hosts: `bundle-uri` and `packfile-uris`
 * (gitprotocol-v2). Versions 0 and 1 have neither and pass as they are, however long.
 */
export async function* withoutOtherHosts(body: AsyncIterable<Buffer>): AsyncGenerator<Buffer, void, void> {
  const reader = new PacketReader(body)
  const head = (await reader.peek(64)).toString('latin1')
  const greeting = /^[0-9a-f]{4}# service=git-upload-pack\n0000/i.exec(head)?.[0] ?? ''
  if (!/^[0-9a-f]{4}version 2\n?/i.test(head.slice(greeting.length))) {
    yield* reader.rest()
    return
  }
  yield await reader.take(greeting.length)
  const lines: Buffer[] = []
  let bytes = 0
  for (let next = await reader.next(); next?.kind === 'data'; next = await reader.next()) {
    bytes += next.payload.length
    if (bytes > MAX_OFFER) throw new FramingError('the upstream offers too much')
    const line = next.payload.toString('latin1').replace(/\n$/, '')
    if (/^bundle-uri(=|$)/.test(line)) continue
    lines.push(packet(`${line.startsWith('fetch=') ? withoutPackfileUris(line) : line}\n`))
  }
  yield Buffer.concat([...lines, flush])
}

function withoutPackfileUris(line: string): string {
  const words = line.slice('fetch='.length).split(' ')
  return `fetch=${words.filter((word) => !word.startsWith('packfile-uris')).join(' ')}`
}
