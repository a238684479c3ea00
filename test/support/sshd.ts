import {spawn, spawnSync, type ChildProcess} from 'node:child_process'
import {existsSync} from 'node:fs'
import {mkdir, mkdtemp, rm, writeFile} from 'node:fs/promises'
import {connect, createServer} from 'node:net'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {newSshKey} from '../../provision/transport/ssh-key.js'
import type {SshTarget} from '../../provision/transport/ssh.js'

const program = '/usr/sbin/sshd'

export const noSshd =
  process.getuid?.() !== 0
    ? 'sshd as root needs root'
    : existsSync(program) && spawnSync('ssh', ['-V']).status === 0
      ? undefined
      : 'openssh-server or openssh-client is missing'

export interface TestSshd {
  directory: string
  target: SshTarget
  /** process id of the listening server */
  pid: number
  /** ends the server and every connection */
  stop(): Promise<void>
}

/** A real sshd on loopback with a host key and one allowed key of its own; it lets this computer's root in. */
export async function startSshd(configuration: readonly string[] = []): Promise<TestSshd> {
  const directory = await mkdtemp(join(tmpdir(), 'cage-sshd-'))
  const file = (name: string) => join(directory, name)
  const host = await newSshKey('host')
  const client = await newSshKey('client')
  const hostKey = host.publicKey.split(' ').slice(0, 2).join(' ')
  const port = await freePort()
  await mkdir('/run/sshd', {recursive: true})
  const files: Record<string, string> = {
    host_key: host.privateKey,
    client_key: client.privateKey,
    authorized_keys: `${client.publicKey}\n`,
    known_hosts: `cage-test ${hostKey}\n`,
    config: [
      `Port ${port}`,
      'ListenAddress 127.0.0.1',
      `HostKey ${file('host_key')}`,
      `AuthorizedKeysFile ${file('authorized_keys')}`,
      `PidFile ${file('pid')}`,
      'StrictModes no',
      'UsePAM no',
      'PasswordAuthentication no',
      'PermitRootLogin yes',
      ...configuration,
      '',
    ].join('\n'),
  }
  for (const [name, content] of Object.entries(files)) await writeFile(file(name), content, {mode: 0o600})
  const child: ChildProcess = spawn(program, ['-D', '-e', '-f', file('config')], {stdio: 'ignore'})
  await answering(port)
  return {
    directory,
    pid: child.pid ?? 0,
    target: {
      address: '127.0.0.1',
      port,
      user: 'root',
      keyFile: file('client_key'),
      hostKey,
      knownHosts: file('known_hosts'),
      hostKeyAlias: 'cage-test',
    },
    async stop() {
      if (child.signalCode === null && child.exitCode === null) {
        const ended = new Promise((next) => child.once('exit', next))
        killTree(child.pid ?? 0)
        await ended
      }
      await rm(directory, {recursive: true, force: true})
    },
  }
}

/** The processes that sshd keeps for its connections. */
export function connectionsOf(pid: number): number[] {
  const {stdout} = spawnSync('pgrep', ['-P', String(pid)], {encoding: 'utf8'})
  return stdout.trim().split('\n').filter(Boolean).map(Number)
}

function killTree(pid: number): void {
  for (const child of connectionsOf(pid)) killTree(child)
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // it has ended by itself
  }
}

export async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((next) => server.listen(0, '127.0.0.1', next))
  const address = server.address()
  await new Promise((next) => server.close(next))
  return typeof address === 'object' && address ? address.port : 0
}

async function answering(port: number): Promise<void> {
  for (let i = 0; i < 200; i++) {
    const open = await new Promise<boolean>((next) => {
      const socket = connect(port, '127.0.0.1', () => {
        socket.destroy()
        next(true)
      })
      socket.on('error', () => next(false))
    })
    if (open) return
    await new Promise((next) => setTimeout(next, 50))
  }
  throw new Error(`sshd does not answer on port ${port}`)
}
