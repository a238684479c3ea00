import {spawnSync} from 'node:child_process'
import {mkdtemp, readFile, rm, writeFile} from 'node:fs/promises'
import {connect, createServer, type AddressInfo, type Server} from 'node:net'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {afterAll, beforeAll, describe, expect} from '@jest/globals'
import {processRunner} from '../../../core/process.js'
import {newSshKey} from '../../../provision/transport/ssh-key.js'
import {sshTransport, type SshTarget} from '../../../provision/transport/ssh.js'
import type {RemoteTransport} from '../../../provision/transport/transport.js'
import {connectionsOf, freePort, noSshd, startSshd, type TestSshd} from '../../support/sshd.js'
import {transportContract} from '../../support/transport-contract.js'
import {itUnless} from '../../support/when.js'

let sshd: TestSshd
let directory: string
let over: RemoteTransport
const opened: RemoteTransport[] = []

/** A transport to the test's server, changed as the test wants. */
function transport(change: (target: SshTarget) => SshTarget = (target) => target): RemoteTransport {
  const made = sshTransport(processRunner, () => Promise.resolve(change(sshd.target)))
  opened.push(made)
  return made
}

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'cage-ssh-'))
  if (noSshd !== undefined) return
  // A login shell whose start files talk, as those of many people do.
  await writeFile(join(directory, 'noise'), 'echo welcome; echo welcome >&2\n')
  sshd = await startSshd([`SetEnv BASH_ENV=${join(directory, 'noise')}`])
  over = transport()
})
afterAll(async () => {
  for (const one of opened) await one.close()
  if (noSshd === undefined) await sshd.stop()
  await rm(directory, {recursive: true, force: true})
})

transportContract({
  name: 'ssh',
  obstacle: noSshd,
  transport: () => over,
  directory: () => directory,
})

describe('the server behind ssh', () => {
  itUnless(noSshd, 'is not told anything when it shows another host key', async () => {
    const other = (await newSshKey('other')).publicKey.split(' ').slice(0, 2).join(' ')
    await expect(
      transport((target) => ({...target, hostKey: other})).run({argv: ['true']}),
    ).rejects.toMatchObject({
      code: 'HOST_KEY_CHANGED',
      exitCode: 4,
    })
    await expect(transport((target) => ({...target, hostKey: ''})).run({argv: ['true']})).rejects.toThrow()
  })

  itUnless(noSshd, 'that does not take the key is named, with what to do', async () => {
    const keyFile = join(directory, 'unknown_key')
    await writeFile(keyFile, (await newSshKey('unknown')).privateKey, {mode: 0o600})
    await expect(transport((target) => ({...target, keyFile})).run({argv: ['true']})).rejects.toMatchObject({
      code: 'SSH_KEY_REFUSED',
      exitCode: 3,
      hints: [expect.stringContaining('cage up')],
    })
  })

  itUnless(noSshd, 'that does not answer is named', async () => {
    const port = await freePort()
    await expect(transport((target) => ({...target, port})).run({argv: ['true']})).rejects.toMatchObject({
      code: 'MACHINE_UNREACHABLE',
      message: expect.stringContaining(`:${port}`),
    })
  })

  itUnless(noSshd, 'gets one connection, however many commands begin at once', async () => {
    const before = connectionsOf(sshd.pid).length
    const one = transport()
    await Promise.all(Array.from({length: 5}, () => one.run({argv: ['true']})))
    expect(connectionsOf(sshd.pid).length - before).toBe(1)
    await one.close()
  })

  itUnless(
    noSshd,
    'is reached again after the connection was lost, and what ran on it has ended',
    async () => {
      const one = transport()
      const interrupted = one.run({argv: ['sh', '-c', 'sleep 4331; true']})
      const outcome = interrupted.catch((error: unknown) => error)
      await one.run({argv: ['true']})
      const before = connectionsOf(sshd.pid)
      for (const pid of before) process.kill(pid, 'SIGKILL')
      expect(await outcome).toMatchObject({code: 'MACHINE_UNREACHABLE'})
      expect((await one.run({argv: ['echo', 'back']})).stdout.toString()).toBe('back\n')
      const left = () => spawnSync('pgrep', ['-f', 'sleep 4331'], {encoding: 'utf8'}).stdout
      for (let i = 0; i < 100 && left() !== ''; i++) await new Promise((next) => setTimeout(next, 100))
      expect(left()).toBe('')
    },
  )

  itUnless(
    noSshd,
    'is reached through a program that carries the connection, as behind a jump host',
    async () => {
      const {address, port, keyFile, knownHosts} = sshd.target
      const options = [
        `IdentityFile=${keyFile}`,
        `UserKnownHostsFile=${knownHosts}`,
        'HostKeyAlias=cage-test',
        'BatchMode=yes',
      ]
      const jump = [
        '-F',
        'none',
        ...options.flatMap((option) => ['-o', option]),
        '-p',
        String(port),
        '-W',
        `${address}:${port}`,
      ]
      const behind = transport((target) => ({
        ...target,
        address: 'server.invalid',
        over: ['ssh', ...jump, 'root@127.0.0.1'],
      }))
      expect((await behind.run({argv: ['echo', 'there']})).stdout.toString()).toBe('there\n')
      const nowhere = transport((target) => ({...target, over: ['sh', '-c', 'echo no route >&2; exit 3']}))
      await expect(nowhere.run({argv: ['true']})).rejects.toMatchObject({
        code: 'MACHINE_UNREACHABLE',
        message: expect.stringContaining('no route'),
      })
    },
  )

  itUnless(noSshd, 'opens a person’s terminal with the same key and the same host key', async () => {
    const [program, ...args] = await over.interactive(['sh', '-c', 'echo "$1"; exit 3', 'sh', "it's me"])
    const {status, stdout} = spawnSync(program, args, {encoding: 'utf8', input: ''})
    expect(status).toBe(3)
    expect(stdout).toContain("it's me\n")
    const knownHosts = join(directory, 'other_hosts')
    await writeFile(knownHosts, `cage-test ${(await newSshKey('x')).publicKey}\n`)
    const [ssh, ...wrong] = await transport((target) => ({...target, knownHosts})).interactive(['true'])
    expect(spawnSync(ssh, wrong, {encoding: 'utf8', input: ''}).status).toBe(255)
  })
})

describe('a tunnel', () => {
  let echo: Server
  beforeAll(async () => {
    echo = createServer((socket) => socket.on('error', () => undefined).pipe(socket))
    await new Promise<void>((next) => echo.listen(0, '127.0.0.1', next))
  })
  afterAll(() => void echo.close())

  const say = (port: number, text: string) =>
    new Promise<string>((resolve, reject) => {
      const socket = connect(port, '127.0.0.1', () => socket.end(text))
      let heard = ''
      socket.on('data', (chunk) => (heard += chunk.toString()))
      socket.on('close', () => resolve(heard))
      socket.on('error', reject)
    })

  itUnless(
    noSshd,
    'carries connections to a port that the server reaches, and ends with the transport',
    async () => {
      const one = transport()
      const {port} = await one.tunnel({address: '127.0.0.1', port: (echo.address() as AddressInfo).port})
      const texts = Array.from({length: 20}, (_, i) => `${i}`.repeat(50_000))
      const heard = await Promise.all(texts.map((text) => say(port, text)))
      expect(heard.map((text, i) => text === texts[i])).toEqual(texts.map(() => true))
      await one.close()
      await expect(say(port, 'x')).rejects.toThrow('ECONNREFUSED')
    },
  )

  itUnless(noSshd, 'to a port where nobody listens closes the connection, and only that', async () => {
    const one = transport()
    const {port} = await one.tunnel({address: '127.0.0.1', port: await freePort()})
    expect(await say(port, 'x').catch(() => '')).toBe('')
    expect((await one.run({argv: ['echo', 'alive']})).stdout.toString()).toBe('alive\n')
  })

  itUnless(noSshd, 'listens on loopback only', async () => {
    const one = transport()
    const {port} = await one.tunnel({address: '127.0.0.1', port: 1})
    const {stdout} = spawnSync('cat', ['/proc/net/tcp', '/proc/net/tcp6'], {encoding: 'utf8'})
    const hex = port.toString(16).toUpperCase().padStart(4, '0')
    const bound = stdout
      .split('\n')
      .filter((line) => new RegExp(`: [0-9A-F]+:${hex} [0-9A-F]+:0000 0A`).test(line))
    expect(bound).toHaveLength(1)
    expect(bound[0]).toContain(`0100007F:${hex}`)
  })
})

describe('the key of a project', () => {
  itUnless(noSshd, 'is one that OpenSSH reads', async () => {
    const {privateKey, publicKey} = await newSshKey('cage-shop-00000001')
    const path = join(directory, 'read_me')
    await writeFile(path, privateKey, {mode: 0o600})
    const {stdout} = spawnSync('ssh-keygen', ['-y', '-f', path], {encoding: 'utf8'})
    expect(stdout.trim()).toBe(publicKey)
    expect((await readFile(path, 'utf8')).startsWith('-----BEGIN OPENSSH PRIVATE KEY-----')).toBe(true)
  })
})
