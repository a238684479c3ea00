import {FramingError, PacketReader} from './pkt-line.js'

/** What an upstream made of a push. */
export interface PushResult {
  /** `ok`, or why nothing was taken */
  unpack: string
  /** ref → reason; absent reason = done */
  refs: Map<string, string | undefined>
  /** lines for the person */
  messages: string[]
}

const MAX_MESSAGES = 20

/** Reads `report-status` inside or outside of side-band-64k. Errors: FramingError when there is no whole report. */
export async function readPushResult(body: AsyncIterable<Buffer>, sideBand: boolean): Promise<PushResult> {
  let text = ''
  const report: Buffer[] = []
  const reader = new PacketReader(body)
  if (sideBand) {
    for (let next = await reader.next(); next?.kind === 'data'; next = await reader.next()) {
      const [band] = next.payload
      const payload = next.payload.subarray(1)
      if (band === 1) report.push(payload)
      else if (band === 2) text += payload.toString('utf8')
      else if (band === 3) throw new FramingError(`the upstream ended: ${payload.toString('utf8').trim()}`)
    }
  }
  const lines = await reportLines(sideBand ? new PacketReader(inPieces(report)) : reader)
  const unpack = /^unpack (.*)$/.exec(lines[0] ?? '')?.[1]
  if (unpack === undefined) throw new FramingError('the upstream gave no report')
  const refs = new Map<string, string | undefined>()
  for (const line of lines.slice(1)) {
    const [, state, ref = '', reason] = /^(ok|ng) (\S+)(?: (.*))?$/.exec(line) ?? []
    if (state !== undefined) refs.set(ref, state === 'ok' ? undefined : (reason ?? 'refused'))
  }
  return {unpack, refs, messages: messagesIn(text)}
}

async function reportLines(reader: PacketReader): Promise<string[]> {
  const lines: string[] = []
  for (let next = await reader.next(); ; next = await reader.next()) {
    if (!next) throw new FramingError('the report of the upstream ends early')
    if (next.kind === 'flush') return lines
    lines.push(next.payload.toString('utf8').replace(/\n$/, ''))
  }
}

/** Whole lines; of progress that overwrites itself only what stays. */
function messagesIn(text: string): string[] {
  return text
    .split('\n')
    .map((line) => line.split('\r').at(-1)?.trim() ?? '')
    .filter((line) => line !== '')
    .slice(0, MAX_MESSAGES)
}

// eslint-disable-next-line @typescript-eslint/require-await -- an AsyncIterable is what the reader takes
async function* inPieces(chunks: readonly Buffer[]): AsyncGenerator<Buffer, void, void> {
  yield* chunks
}
