import {mkdtemp, rm} from 'node:fs/promises'
import {createServer, type Server, type Socket} from 'node:net'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {Writable} from 'node:stream'
import {CageError, messageOf} from '../../core/errors.js'
import {shellCommand, visible} from '../../core/quote.js'
import type {FarEnd, GitService} from './far-end.js'

/** What git starts in place of `git-upload-pack`: a pipe into this process, which holds the connection. */
const RELAY = `const s=require('net').connect(process.argv[1]);
s.on('error',()=>process.exit(1)).on('close',()=>process.exit(0));
process.stdout.on('error',()=>process.exit(1));
process.stdin.pipe(s);s.pipe(process.stdout)`
const STDERR_KEPT = 4096
/** sun_path, less room for the name */
const MAX_SOCKET_FOLDER = 90

export interface Relay {
  /** for `--upload-pack` or `--receive-pack`; git hands it to a shell */
  command: string
  /** the failure of the far end once git is done: more telling than git's own */
  failure(): CageError | undefined
}

/** Lets a git child of this computer speak with the far end while `work` runs; only this user can connect. */
export async function withRelay<T>(
  farEnd: FarEnd,
  service: GitService,
  work: (relay: Relay) => Promise<T>,
  signal?: AbortSignal,
): Promise<T> {
  const folder = await mkdtemp(join(tmpdir().length > MAX_SOCKET_FOLDER ? '/tmp' : tmpdir(), 'cage-git-'))
  const path = join(folder, 's')
  const sessions: Promise<void>[] = []
  let failed: CageError | undefined
  const server = createServer({allowHalfOpen: true}, (socket) => {
    const session = connect(farEnd, service, socket, signal).catch((error: unknown) => {
      failed ??= asFailure(farEnd, error)
      socket.destroy()
    })
    sessions.push(session)
  })
  try {
    await listen(server, path)
    const result = await work({
      command: shellCommand([process.execPath, '-e', RELAY, path]),
      failure: () => failed,
    })
    await Promise.all(sessions)
    return result
  } finally {
    server.close()
    await rm(folder, {force: true, recursive: true})
  }
}

async function connect(
  farEnd: FarEnd,
  service: GitService,
  socket: Socket,
  signal: AbortSignal | undefined,
): Promise<void> {
  socket.on('error', () => undefined)
  const tail = new Tail()
  const code = await farEnd.serve(service, {stdin: socket, stdout: socket, stderr: tail}, signal)
  socket.end()
  if (code !== 0) {
    const said = visible(tail.text.trim(), '\n')
    throw new CageError(`${farEnd.name} refused (exit code ${code})${said ? `: ${said}` : ''}`, {
      code: 'GIT_FAR_END',
    })
  }
}

function asFailure(farEnd: FarEnd, error: unknown): CageError {
  if (error instanceof CageError) return error
  return new CageError(`the connection to ${farEnd.name} failed: ${messageOf(error)}`, {
    code: 'GIT_FAR_END',
    cause: error,
  })
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(path, resolve)
  })
}

/** Keeps the end of what is written. */
class Tail extends Writable {
  text = ''

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.text = (this.text + chunk.toString()).slice(-STDERR_KEPT)
    done()
  }
}
