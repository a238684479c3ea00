import type {Readable} from 'node:stream'
import {CageError, ExitCode} from '../core/errors.js'
import {visible} from '../core/quote.js'
import type {ExecOptions, TerminalSize} from './cluster.js'
import {execError, interrupted, statusMessage} from './errors.js'
import {segment} from './kinds.js'
import {Outlet} from './outlet.js'

/** Channels of the remote command protocol, first byte of every message. */
const Channel = {stdin: 0, stdout: 1, stderr: 2, status: 3, resize: 4, close: 255} as const
/** bytes per message: what every proxy on the way takes */
const MESSAGE_BYTES = 32 * 1024
/** bytes on their way out before stdin is no longer read, and received before the socket is no longer read */
const HIGH_WATER = 1024 * 1024
const LOW_WATER = 256 * 1024
const PING_MS = 15_000
const SILENT_MS = 60_000
/** what a shell reports for a program whose reader went away */
const SIGPIPE_EXIT = 141

/** The connection of one exec, as the remote command protocol sees it. */
export interface ExecSocket {
  /** the sub-protocol the server chose, e.g. `v5.channel.k8s.io` */
  protocol: string
  /** bytes accepted by `send` and not yet taken by the network */
  bufferedAmount: number
  send(message: Buffer, taken: (error?: Error) => void): void
  ping(): void
  pause(): void
  resume(): void
  terminate(): void
  on(event: 'close' | 'pong' | 'error', listener: () => void): void
}

/** Opens a socket on a path of the API server; every message goes to `receive` from the first byte on. */
export type OpenSocket = (
  path: string,
  receive: (channel: number, bytes: Buffer) => void,
) => Promise<ExecSocket>

export function execPath(options: ExecOptions): string {
  const query = new URLSearchParams({container: options.container})
  for (const word of options.argv) query.append('command', word)
  if (options.stdin) query.set('stdin', 'true')
  // The API wants one stream at least.
  if (options.stdout || !options.stdin) query.set('stdout', 'true')
  // With a terminal there is one output.
  if (options.stderr && !options.tty) query.set('stderr', 'true')
  if (options.tty) query.set('tty', 'true')
  return `/api/v1/namespaces/${segment(options.namespace)}/pods/${segment(options.pod)}/exec?${query.toString()}`
}

/** Drives one exec over a socket to the exit code of its program. */
export async function runExec(open: OpenSocket, options: ExecOptions): Promise<number> {
  const what = `${options.argv[0]} in ${options.namespace}/${options.pod} (${options.container})`
  if (options.signal?.aborted) throw interrupted(what)
  const session = new Session(what, options)
  const onAbort = () => session.fail(interrupted(what))
  options.signal?.addEventListener('abort', onAbort, {once: true})
  const opening = open(execPath(options), (channel, bytes) => session.receive(channel, bytes))
  try {
    await Promise.race([opening, session.ended])
    return await session.drive(await opening)
  } finally {
    options.signal?.removeEventListener('abort', onAbort)
    session.release()
    // Also one that opens after everything is over.
    opening.then((socket) => socket.terminate()).catch(() => undefined)
  }
}

class Session {
  readonly ended: Promise<number>
  private settle!: (code: number) => void
  fail!: (error: CageError) => void
  private socket: ExecSocket | undefined
  private delivery: Promise<void> = Promise.resolve()
  private undelivered = 0
  private paused = false
  private over = false
  private lastHeard = Date.now()

  private readonly what: string
  private readonly options: ExecOptions
  private readonly outlets: Readonly<Partial<Record<number, Outlet>>>

  constructor(what: string, options: ExecOptions) {
    this.what = what
    this.options = options
    this.outlets = {
      ...(options.stdout ? {[Channel.stdout]: new Outlet(options.stdout)} : {}),
      ...(options.stderr ? {[Channel.stderr]: new Outlet(options.stderr)} : {}),
    }
    this.ended = new Promise((resolve, reject) => {
      this.settle = resolve
      this.fail = reject
    })
    this.ended.then(
      () => (this.over = true),
      () => (this.over = true),
    )
  }

  receive(channel: number, bytes: Buffer): void {
    this.lastHeard = Date.now()
    // Empty messages open the channels.
    if (channel === Channel.close || bytes.length === 0 || this.over) return
    this.undelivered += bytes.length
    if (this.undelivered > HIGH_WATER && !this.paused) this.pause()
    this.delivery = this.delivery.then(async () => {
      await this.deliver(channel, bytes)
      this.undelivered -= bytes.length
      if (this.paused && this.undelivered < LOW_WATER) this.resume()
    })
  }

  async drive(socket: ExecSocket): Promise<number> {
    const {options} = this
    this.socket = socket
    if (this.paused) socket.pause()
    socket.on('error', () => undefined)
    socket.on('close', () => {
      this.delivery = this.delivery.then(() =>
        this.fail(
          execError('EXEC_LOST', `the connection to ${this.what} was lost before its exit code arrived`),
        ),
      )
    })
    const stopPings = this.keepAlive(socket)
    const stopInput = options.stdin ? this.feed(socket, options.stdin) : () => undefined
    const stopResizing = options.tty ? this.resize(socket, options.tty, options.onResize) : () => undefined
    try {
      return await this.ended
    } finally {
      stopPings()
      stopInput()
      stopResizing()
    }
  }

  release(): void {
    for (const outlet of Object.values(this.outlets)) outlet?.release()
  }

  private async deliver(channel: number, bytes: Buffer): Promise<void> {
    if (this.over) return
    if (channel === Channel.status) {
      this.judge(bytes.toString('utf8'))
      return
    }
    const taken = await this.outlets[channel]?.write(bytes)
    if (taken === false) this.settle(SIGPIPE_EXIT)
  }

  /** The last message: `Success`, or `Failure` with the exit code among its causes. */
  private judge(text: string): void {
    let status: {status?: string; reason?: string; details?: {causes?: {reason?: string; message?: string}[]}}
    try {
      status = JSON.parse(text) as typeof status
    } catch {
      this.fail(execError('EXEC_LOST', `unreadable exit status of ${this.what}`))
      return
    }
    if (status.status === 'Success') {
      this.settle(0)
      return
    }
    const code = Number(status.details?.causes?.find((cause) => cause.reason === 'ExitCode')?.message)
    if (Number.isInteger(code)) {
      this.settle(code)
      return
    }
    const sentence =
      statusMessage(text) ?? visible((status as {message?: string}).message ?? 'no reason given')
    this.fail(execError('EXEC_NOT_STARTED', `cannot run ${this.what}: ${sentence}`))
  }

  private feed(socket: ExecSocket, stdin: Readable): () => void {
    if (socket.protocol !== 'v5.channel.k8s.io') {
      this.fail(
        new CageError(
          `the cluster cannot close the standard input of a command (it speaks ${socket.protocol || 'no known protocol'})`,
          {
            code: 'CLUSTER_TOO_OLD',
            exitCode: ExitCode.transport,
            hints: ['Use Kubernetes 1.30 or later.'],
          },
        ),
      )
      return () => undefined
    }
    let closed = false
    const taken = () => {
      if (!closed && stdin.isPaused() && socket.bufferedAmount < LOW_WATER) stdin.resume()
    }
    const onData = (chunk: Buffer | string) => {
      const bytes = typeof chunk === 'string' ? Buffer.from(chunk, stdin.readableEncoding ?? 'utf8') : chunk
      for (let at = 0; at < bytes.length; at += MESSAGE_BYTES) {
        socket.send(message(Channel.stdin, bytes.subarray(at, at + MESSAGE_BYTES)), taken)
      }
      if (socket.bufferedAmount > HIGH_WATER) stdin.pause()
    }
    const onEnd = () => {
      if (closed) return
      stop()
      socket.send(message(Channel.close, Buffer.from([Channel.stdin])), () => undefined)
    }
    const stop = () => {
      closed = true
      stdin.off('data', onData)
      stdin.off('end', onEnd)
      stdin.off('close', onEnd)
      stdin.pause()
    }
    stdin.on('error', onEnd)
    if (stdin.readableEnded || stdin.destroyed) onEnd()
    else {
      stdin.on('end', onEnd)
      stdin.on('close', onEnd)
      stdin.on('data', onData)
    }
    return stop
  }

  private resize(socket: ExecSocket, first: TerminalSize, register: ExecOptions['onResize']): () => void {
    const send = (size: TerminalSize) => {
      const text = JSON.stringify({Width: size.columns, Height: size.rows})
      socket.send(message(Channel.resize, Buffer.from(text)), () => undefined)
    }
    send(first)
    return register?.(send) ?? (() => undefined)
  }

  /** Keeps idle connections through NAT, and notices a dead peer once it is known to answer pings. */
  private keepAlive(socket: ExecSocket): () => void {
    let answers = false
    socket.on('pong', () => {
      answers = true
      this.lastHeard = Date.now()
    })
    const timer = setInterval(() => {
      if (this.paused) this.lastHeard = Date.now()
      if (answers && Date.now() - this.lastHeard > SILENT_MS) {
        this.fail(execError('EXEC_LOST', `no sign of life from ${this.what} for ${SILENT_MS / 1000} s`))
      } else socket.ping()
    }, PING_MS)
    return () => clearInterval(timer)
  }

  private pause(): void {
    this.paused = true
    this.socket?.pause()
  }

  private resume(): void {
    this.paused = false
    this.socket?.resume()
  }
}

function message(channel: number, bytes: Buffer): Buffer {
  return Buffer.concat([Buffer.from([channel]), bytes])
}
