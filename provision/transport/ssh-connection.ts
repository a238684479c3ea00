import {createServer, connect as connectTcp, type Server, type Socket} from 'node:net'
import {readFile} from 'node:fs/promises'
import {Duplex} from 'node:stream'
import type {Client, ClientChannel, ServerHostKeyAlgorithm} from 'ssh2'
import {CageError, ExitCode, messageOf} from '../../core/errors.js'
import type {Runner} from '../../core/runner.js'
import type {SshTarget} from './ssh.js'

export interface SshConnection {
  /** false once nothing can be sent any more */
  readonly alive: boolean
  readonly user: string
  exec(line: string): Promise<ClientChannel>
  tunnel(to: {address: string; port: number}): Promise<{port: number}>
  /** takes the connection for lost: a command ended without saying how */
  drop(): void
  close(): Promise<void>
}

const READY_MS = 30_000
const KEEPALIVE_MS = 15_000

/**
 * One authenticated connection. The server's key is compared before anything is sent but the key exchange.
 * Errors: HOST_KEY_CHANGED, SSH_KEY_REFUSED (exit 3), MACHINE_UNREACHABLE.
 */
export async function openConnection(runner: Runner, target: SshTarget): Promise<SshConnection> {
  const privateKey = await readFile(target.keyFile).catch((cause: unknown) => {
    throw new CageError(`cannot read the key of this project: ${messageOf(cause)}`, {
      code: 'STATE_NOT_READ',
      cause,
    })
  })
  const [type = '', key = ''] = target.hostKey.split(' ')
  const pinned = Buffer.from(key, 'base64')
  // Loaded when it is needed: most commands never talk to a server.
  const {default: ssh2} = await import('ssh2')
  const client = new ssh2.Client()
  let shown: Buffer | undefined
  let alive = false
  const {sock, said} = dial(runner, target)
  const failure = (cause: Error) => unreachable(target, cause, shown !== undefined && !shown.equals(pinned))
  await new Promise<void>((resolve, reject) => {
    client.once('ready', () => {
      alive = true
      resolve()
    })
    client.on('error', reject)
    client.on('end', () => (alive = false))
    client.on('close', () => {
      alive = false
      reject(new Error('the server closed the connection'))
    })
    sock.on('error', reject)
    client.connect({
      sock,
      username: target.user,
      privateKey,
      authHandler: ['publickey'],
      readyTimeout: READY_MS,
      keepaliveInterval: KEEPALIVE_MS,
      algorithms: {serverHostKey: serverHostKeys(type)},
      hostVerifier: (offered: Buffer) => {
        shown = offered
        return pinned.length > 0 && offered.equals(pinned)
      },
    })
  }).catch(async (cause: unknown) => {
    client.destroy()
    sock.destroy()
    const reason = await said()
    throw failure(reason === undefined ? (cause as Error) : new Error(reason, {cause}))
  })
  const servers = new Set<Server>()
  return {
    get alive() {
      return alive
    },
    user: target.user,
    exec: (line) =>
      new Promise((resolve, reject) => {
        client.exec(line, (error, channel) => {
          if (error) reject(failure(error))
          else resolve(channel)
        })
      }),
    tunnel: (to) => listen(client, to, servers),
    drop: () => {
      alive = false
      client.destroy()
    },
    async close() {
      for (const server of servers) server.close()
      if (!alive) return
      const closed = new Promise<void>((next) => void client.once('close', next))
      client.end()
      const timer = setTimeout(() => client.destroy(), 1000)
      await closed
      clearTimeout(timer)
      sock.destroy()
    },
  }
}

/** RSA keys sign with SHA-2 only. */
function serverHostKeys(type: string): ServerHostKeyAlgorithm[] {
  return type === 'ssh-rsa' ? ['rsa-sha2-512', 'rsa-sha2-256'] : [type as ServerHostKeyAlgorithm]
}

/** `said` is what the program that carries the connection has to say about its end; undefined for TCP. */
function dial(
  runner: Runner,
  {over, address, port}: SshTarget,
): {sock: Duplex; said: () => Promise<string | undefined>} {
  if (!over) {
    return {
      sock: connectTcp({host: address, port, noDelay: true}),
      said: () => Promise.resolve(undefined),
    }
  }
  const carrier = runner.start({argv: over})
  const {stdin, stdout, stderr, exit} = carrier
  let tail = ''
  stderr.on('data', (chunk: Buffer) => (tail = (tail + chunk.toString()).slice(-2048)))
  const sock = Duplex.from({readable: stdout, writable: stdin})
  sock.once('close', () => carrier.kill())
  exit.catch((cause: unknown) => sock.destroy(cause as Error))
  return {
    sock,
    said: async () => {
      const code = await exit.catch(messageOf)
      return `${over[0]} ended with ${code}${tail ? `: ${tail.trim()}` : ''}`
    },
  }
}

/** Listens on loopback only; every connection is a channel of its own. */
function listen(
  client: Client,
  {address, port}: {address: string; port: number},
  servers: Set<Server>,
): Promise<{port: number}> {
  const open = new Set<Socket>()
  const server = createServer({noDelay: true, allowHalfOpen: true}, (socket) => {
    open.add(socket)
    socket.on('error', () => undefined)
    socket.once('close', () => open.delete(socket))
    client.forwardOut('127.0.0.1', socket.remotePort ?? 0, address, port, (error, channel) => {
      if (error) return socket.destroy()
      channel.on('error', () => undefined)
      channel.once('close', () => socket.destroySoon())
      socket.once('close', () => channel.destroy())
      socket.pipe(channel).pipe(socket)
    })
  })
  client.once('close', () => {
    server.close()
    for (const socket of open) socket.destroy()
  })
  servers.add(server)
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const bound = server.address()
      resolve({port: typeof bound === 'object' && bound ? bound.port : 0})
    })
  })
}

function unreachable(target: SshTarget, cause: Error, otherKey: boolean): CageError {
  const where = `${target.user}@${target.address}:${target.port}`
  if (otherKey) {
    return new CageError(`${where} does not show the host key that this project was made with`, {
      code: 'HOST_KEY_CHANGED',
      exitCode: ExitCode.denied,
      hints: [
        'Nothing was sent to it. Check whether another server has that address now.',
        'If the server was made anew, its tasks are gone: `cage destroy` says how to forget it.',
      ],
      cause,
    })
  }
  if (/authentication methods failed/i.test(cause.message)) {
    return new CageError(`${where} does not accept the key of this project`, {
      code: 'SSH_KEY_REFUSED',
      exitCode: ExitCode.precondition,
      hints: ['Run `cage up`: it installs the key again through your own `ssh`.'],
      cause,
    })
  }
  return new CageError(`${where} is not reached: ${cause.message}`, {
    code: 'MACHINE_UNREACHABLE',
    exitCode: ExitCode.precondition,
    hints: ['Check that the machine is up and that its address and port are right, then try again.'],
    cause,
  })
}
