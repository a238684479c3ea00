import {MAX_MATCH, Meter, type Finding, type WindowScanner} from './scanner.js'

const SLICE = 128 * 1024

export interface StreamStep {
  /** new ones, offsets counted from the start of the stream */
  findings: Finding[]
  /** what may be forwarded now; once stopped always empty */
  release: Buffer
  /** a finding that stops, or the work budget exceeded: nothing more may be forwarded */
  stopped: boolean
  overBudget: boolean
}

export interface StreamOptions {
  /** bytes gathered before a scan; smaller = less delay, more overlap */
  slice?: number
  /** whether a finding stops the stream; default every one */
  stops?: (finding: Finding) => boolean
}

/**
 * Scans a body that is too large to hold. Bytes are released only when every match that could begin in them lies
 * inside what was scanned: the last MAX_MATCH bytes wait for the next slice.
 */
export interface StreamScanner {
  push(chunk: Buffer): StreamStep
  end(): StreamStep
}

export function createStreamScanner(scanner: WindowScanner, options: StreamOptions = {}): StreamScanner {
  const slice = options.slice ?? SLICE
  const stops = options.stops ?? (() => true)
  const meter = new Meter()
  const reported = new Set<string>()
  let held = Buffer.alloc(0)
  let waiting: Buffer[] = []
  let waitingBytes = 0
  let start = 0
  let stopped = false

  const nothing = (findings: Finding[] = []): StreamStep => ({
    findings,
    release: Buffer.alloc(0),
    stopped,
    overBudget: meter.exceeded(),
  })

  const step = (final: boolean): StreamStep => {
    const window = Buffer.concat([held, ...waiting])
    waiting = []
    waitingBytes = 0
    const findings: Finding[] = []
    for (const found of scanner.scanWindow(window, meter)) {
      const finding = {...found, offset: found.offset + start}
      // The overlap is scanned twice.
      const key = `${finding.rule} ${finding.offset}`
      if (!reported.has(key)) findings.push(finding)
      reported.add(key)
    }
    if (meter.exceeded() || findings.some(stops)) {
      stopped = true
      held = Buffer.alloc(0)
      return nothing(findings)
    }
    const keep = final ? 0 : Math.min(MAX_MATCH, window.length)
    const release = window.subarray(0, window.length - keep)
    held = window.subarray(window.length - keep)
    start += release.length
    return {findings, release, stopped: false, overBudget: false}
  }

  return {
    push: (chunk) => {
      if (stopped) return nothing()
      meter.grant(chunk.length)
      waiting.push(chunk)
      waitingBytes += chunk.length
      return waitingBytes >= slice ? step(false) : nothing()
    },
    end: () => (stopped ? nothing() : step(true)),
  }
}
