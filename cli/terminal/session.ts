import {writeSync} from 'node:fs'
import {Transform, Writable, type Readable} from 'node:stream'
import type {TerminalSize} from '../../kube/cluster.js'
import {TerminalFilter} from './filter.js'

/** The person's terminal: `process.stdin` and `process.stdout`. */
export interface Terminal {
  input: Readable & {isTTY?: boolean; setRawMode?: (raw: boolean) => unknown}
  output: Writable & {isTTY?: boolean; fd?: number; columns?: number; rows?: number}
}

export interface SessionStreams {
  stdin: Readable
  stdout: Writable
  tty: TerminalSize
  onResize: (listener: (size: TerminalSize) => void) => () => void
  /** fires when the person leaves by cage's own key or a signal ends cage */
  signal: AbortSignal
}

/** Three times Ctrl-] leaves a session whose far end does not answer any more. */
const LEAVE_BYTE = 0x1d
const LEAVE_COUNT = 3
const CR = 0x0d
const LF = 0x0a
const INDEX = Buffer.from('\u001bD')
const SIGNALS = ['SIGTERM', 'SIGHUP', 'SIGINT'] as const

/**
 * Gives `work` the terminal in raw mode behind the filter and takes it back, whatever happens: on return, on an
 * error, on a signal, and at the exit of a process that crashed.
 * @returns what `work` returned, or 'left' when the person left by cage's own key or a signal came
 */
export async function withTerminal<T>(
  {input, output}: Terminal,
  work: (streams: SessionStreams) => Promise<T>,
): Promise<T | 'left'> {
  const filter = new TerminalFilter()
  const leaving = new AbortController()
  const leave = () => leaving.abort()
  const stdin = input.pipe(leaveKey(leave))
  const restore = () => {
    input.setRawMode?.(false)
    const undo = filter.reset()
    // At exit only a synchronous write still reaches the terminal.
    if (undo !== '' && output.fd !== undefined) writeSync(output.fd, undo)
    else if (undo !== '') output.write(undo)
  }
  for (const signal of SIGNALS) process.on(signal, leave)
  process.once('exit', restore)
  input.setRawMode?.(true)
  try {
    return await work({
      stdin,
      stdout: filtered(filter, output, linesDown()),
      tty: sizeOf(output),
      onResize: (listener) => {
        const changed = () => listener(sizeOf(output))
        output.on('resize', changed)
        return () => output.off('resize', changed)
      },
      signal: leaving.signal,
    })
  } catch (error) {
    if (leaving.signal.aborted) return 'left'
    throw error
  } finally {
    for (const signal of SIGNALS) process.off(signal, leave)
    process.off('exit', restore)
    input.unpipe(stdin)
    input.pause()
    restore()
  }
}

function sizeOf(output: Terminal['output']): TerminalSize {
  return {columns: output.columns ?? 80, rows: output.rows ?? 24}
}

/** Passes what is typed and watches for the key that always works. */
function leaveKey(leave: () => void): Transform {
  let run = 0
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      for (const byte of chunk) {
        run = byte === LEAVE_BYTE ? run + 1 : 0
        if (run === LEAVE_COUNT) leave()
      }
      done(null, chunk)
    },
  })
}

/** A stream that lets through what may reach a terminal. */
export function filtered(
  filter: TerminalFilter,
  output: Writable,
  form = (bytes: Buffer) => bytes,
): Writable {
  return new Writable({
    write(chunk: Buffer, _encoding, done) {
      const allowed = form(filter.write(chunk))
      if (allowed.length === 0) done()
      else output.write(allowed, (error) => done(error))
    },
  })
}

/**
 * Node's raw mode still turns a line feed into carriage return and line feed; to the far end it means one line down in
 * the same column. `ESC D` says that and is left alone.
 */
function linesDown(): (bytes: Buffer) => Buffer {
  let before = 0
  return (bytes) => {
    const parts: Buffer[] = []
    let from = 0
    for (let at = bytes.indexOf(LF); at >= 0; at = bytes.indexOf(LF, at + 1)) {
      const previous = at > 0 ? bytes[at - 1] : before
      if (previous === CR) continue
      parts.push(bytes.subarray(from, at), INDEX)
      from = at + 1
    }
    before = bytes.at(-1) ?? before
    return parts.length === 0 ? bytes : Buffer.concat([...parts, bytes.subarray(from)])
  }
}
