import {mkdtemp, readFile, rm, writeFile, mkdir} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {dirname, join, resolve} from 'node:path'
import {afterEach, beforeEach, describe, expect, it} from '@jest/globals'
import {contactServer, serverTransport} from '../../../provision/machine/ssh-server.js'
import {projectFiles, type ProjectFiles} from '../../../provision/state/layout.js'
import type {MachineRecord} from '../../../provision/state/machine-record.js'
import {FakeRunner} from '../../support/fake-runner.js'

const project = {id: 'shop-00000001', project: 'shop', repository: '/src/shop'}

let home: string
let files: ProjectFiles
beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'cage-contact-'))
  files = projectFiles(home, project.id)
})
afterEach(() => rm(home, {recursive: true, force: true}))

describe('first contact', () => {
  const contact = (runner: FakeRunner) =>
    contactServer({runner, packageRoot: resolve('.'), files}, {host: 'me@server', port: 2222}, project)

  it('goes the person’s way and never past an unknown host key', async () => {
    const runner = new FakeRunner()
    runner.answer = () => ({code: 255, stderr: 'Host key verification failed.\n'})
    await expect(contact(runner)).rejects.toMatchObject({
      code: 'HOST_KEY_UNKNOWN',
      exitCode: 3,
      hints: [expect.stringContaining('ssh me@server')],
    })
    const [{argv} = {argv: []}] = runner.commands
    expect(argv.slice(0, 4)).toEqual(['ssh', '-T', '-a', '-x'])
    expect(argv).toContain('StrictHostKeyChecking=yes')
    expect(argv.join(' ')).not.toMatch(/accept-new|StrictHostKeyChecking=no|UserKnownHostsFile/)
    expect(argv.slice(-5, -1)).toEqual(['-p', '2222', '--', 'me@server'])
  })

  it.each([
    ['another host key', 255, '@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @', 'HOST_KEY_CHANGED'],
    ['no sudo', 77, '', 'SUDO_NEEDED'],
    ['a system that is neither Debian nor Ubuntu', 78, '', 'SERVER_UNFIT'],
    ['no way in', 255, 'me@server: Permission denied (publickey).', 'SSH_NO_ACCESS'],
    ['a shell that says nothing', 0, '', 'SSH_NO_ACCESS'],
  ])('names %s, with what to do', async (_, code, stderr, expected) => {
    const runner = new FakeRunner()
    runner.answer = () => ({code, stderr})
    await expect(contact(runner)).rejects.toMatchObject({
      code: expected,
      hints: expect.arrayContaining([expect.any(String)]),
    })
  })

  it('does not take a server with another host key for the one it knows', async () => {
    await mkdir(dirname(files.sshKnownHosts), {recursive: true})
    await writeFile(files.sshKnownHosts, 'cage-shop-00000001 ssh-ed25519 AAAApinned\n')
    const runner = new FakeRunner()
    runner.answer = ({argv}) => {
      const encoded = /echo (\S+) \|/.exec(argv.at(-1) ?? '')?.[1] ?? ''
      const mark = /cage-[0-9a-f]{24}/.exec(Buffer.from(encoded, 'base64').toString())?.[0] ?? ''
      const said = ['user me', 'file /home/me/.ssh/authorized_keys', 'hostkey ssh-ed25519 AAAAother', 'done']
      return {stdout: `welcome\n${said.map((line) => `${mark} ${line}\n`).join('')}`}
    }
    await expect(contact(runner)).rejects.toMatchObject({code: 'HOST_KEY_CHANGED', exitCode: 4})
    expect(await readFile(files.sshKnownHosts, 'utf8')).toContain('AAAApinned')
  })

  it('makes the key of a project once, and keeps it to itself', async () => {
    const runner = new FakeRunner()
    runner.answer = () => ({code: 77})
    await contact(runner).catch(() => undefined)
    const first = await readFile(files.sshKey, 'utf8')
    await contact(runner).catch(() => undefined)
    expect(await readFile(files.sshKey, 'utf8')).toBe(first)
    const {argv = []} = runner.commands[0] ?? {}
    const sent = Buffer.from(/echo (\S+) \|/.exec(argv.at(-1) ?? '')?.[1] ?? '', 'base64').toString()
    expect(sent).toContain((await readFile(files.sshPublicKey, 'utf8')).trim())
    expect(sent).not.toContain('PRIVATE KEY')
  })
})

describe('the way to the server', () => {
  const record = {...project, ssh: {host: 'web', user: 'me'}} as MachineRecord
  const proxy = async (configuration: string) => {
    const runner = new FakeRunner()
    runner.answer = () => ({stdout: configuration})
    const argv = await serverTransport({runner, packageRoot: '.', files}, record).interactive(['true'])
    expect(runner.lines).toEqual(['ssh -G -- web'])
    return {argv, carrier: argv.find((word) => word.startsWith('ProxyCommand='))?.slice(13)}
  }

  it('is the one of the person’s own configuration, with the project’s key and pinned host key only', async () => {
    const {argv, carrier} = await proxy('hostname 203.0.113.9\nport 2200\nuser other\nproxycommand none\n')
    expect(carrier).toBeUndefined()
    expect(argv).toEqual(expect.arrayContaining(['Port=2200', 'User=me', 'StrictHostKeyChecking=yes']))
    expect(argv).toEqual(expect.arrayContaining(['HostKeyAlias=cage-shop-00000001', 'IdentitiesOnly=yes']))
    expect(argv.at(-2)).toBe('203.0.113.9')
  })

  it.each([
    ['proxyjump gate', 'ssh -o StrictHostKeyChecking=yes -W 10.0.0.5:22 -- ssh://gate'],
    [
      'proxyjump a@one:2201,b@two',
      'ssh -o StrictHostKeyChecking=yes -J a@one:2201 -W 10.0.0.5:22 -- ssh://b@two',
    ],
    ['proxycommand nc -X 5 %h %p %%', "sh -c 'exec nc -X 5 10.0.0.5 22 %%'"],
  ])('leads through what it names: %s', async (line, expected) => {
    const {carrier} = await proxy(`hostname 10.0.0.5\nport 22\n${line}\n`)
    expect(carrier).toBe(expected)
  })
})
