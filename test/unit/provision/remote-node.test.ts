import {mkdir, mkdtemp, rm, writeFile} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {basename, join, resolve} from 'node:path'
import {PassThrough} from 'node:stream'
import {describe, expect, it} from '@jest/globals'
import type {CommandResult} from '../../../core/runner.js'
import {RemoteNode} from '../../../provision/machine/remote-node.js'
import type {MachineRecord} from '../../../provision/state/machine-record.js'
import {networkOf} from '../../../provision/state/network.js'
import type {RemoteCommand, RemoteTransport} from '../../../provision/transport/transport.js'
import {FakeRunner} from '../../support/fake-runner.js'
import {machineContract, type MachineUnderTest} from '../../support/machine-contract.js'

const GIB = 1024 ** 3
const record: MachineRecord = {
  version: 1,
  id: 'shop-00000001',
  project: 'shop',
  repository: '/src/shop',
  driver: 'ssh',
  cluster: 'kubeadm',
  cpus: 4,
  memory: 8 * GIB,
  disk: 60 * GIB,
  network: networkOf(217),
}

/** A server whose scripts do what they are told, in so far as a machine notices. */
class FakeServer implements RemoteTransport {
  readonly commands: string[][] = []
  readonly layers = new Set<string>()
  readonly uploads: {sum: string; offset: number; bytes: Buffer}[] = []
  scripts = false
  disks = false
  node = false
  wayOut = false
  starts = true
  closed = 0
  /** bytes of a layer that an earlier upload left */
  partial = new Map<string, number>()

  async run({argv, input}: RemoteCommand): Promise<CommandResult> {
    this.commands.push([...argv])
    const said = this.answer([...argv], input)
    return Promise.resolve({code: 0, stdout: Buffer.from(''), stderr: '', ...said})
  }

  private answer(argv: string[], input: unknown): Partial<CommandResult> {
    const text = (stdout: string) => ({stdout: Buffer.from(stdout)})
    if (argv[0] === 'cat') return this.scripts ? text('') : {code: 1}
    if (argv[0] === 'sh' && input !== undefined) this.scripts = true
    if (argv[0] === 'tail') return text('mount: no overlay\n')
    const at = argv.findIndex((word) => /\/guest\/node\/\w+\.sh$/.test(word))
    const [script = '', ...args] = argv.slice(at)
    switch (basename(script)) {
      case 'state.sh':
        if (!this.disks) return text('absent\n')
        return text(this.node ? (this.wayOut ? 'running\n' : 'broken\n') : 'stopped\n')
      case 'disks.sh':
        this.disks = true
        return {}
      case 'start.sh':
        this.node = this.node || this.starts
        this.wayOut = this.node
        return {}
      case 'stop.sh':
        this.node = this.wayOut = false
        return {}
      case 'remove.sh':
        this.node = this.wayOut = this.disks = this.scripts = false
        this.layers.clear()
        return {}
      case 'facts.sh':
        return text('architecture x86_64\ncgroup v2\naddress 10.9.8.7\naddress 203.0.113.5\n')
      case 'layers.sh':
        return this.layer(args)
      default:
        return {}
    }
  }

  private layer([action, ...args]: string[]): Partial<CommandResult> {
    const has = (sum: string) => (this.layers.has(sum) ? 'complete' : String(this.partial.get(sum) ?? 0))
    if (action === 'want') return {stdout: Buffer.from(args.map((sum) => `${sum} ${has(sum)}\n`).join(''))}
    if (action === 'unpack') this.layers.add(args[0] ?? '')
    return {}
  }

  start({argv}: {argv: readonly string[]}) {
    const [sum = '', offset = ''] = argv.slice(argv.indexOf('append') + 1)
    const [stdin, stdout, stderr] = [new PassThrough(), new PassThrough().end(), new PassThrough().end()]
    const chunks: Buffer[] = []
    stdin.on('data', (chunk: Buffer) => chunks.push(chunk))
    const exit = new Promise<number>((next) => {
      stdin.on('end', () => {
        this.uploads.push({sum, offset: Number(offset), bytes: Buffer.concat(chunks)})
        next(0)
      })
    })
    return Promise.resolve({stdin, stdout, stderr, exit, kill: () => undefined})
  }

  writeFile = () => Promise.resolve()
  interactive = (argv: readonly string[]) => Promise.resolve(['ssh', ...argv] as [string, ...string[]])
  tunnel = () => Promise.resolve({port: 40_001})
  close = () => {
    this.closed++
    return Promise.resolve()
  }
}

const sums = ['a'.repeat(64), 'b'.repeat(64)]

async function world() {
  const home = await mkdtemp(join(tmpdir(), 'cage-remote-'))
  const server = new FakeServer()
  const runner = new FakeRunner()
  runner.answer = async ({argv}) => {
    const program = argv[0] === 'timeout' ? basename(argv[3] ?? '') : argv[0]
    const args = argv.slice(argv[0] === 'timeout' ? 4 : 1)
    const out = program === 'pack.sh' ? args[2] : program === 'bash' ? args[3] : args[0]
    if (program === 'build.sh' || program === 'pack.sh' || program === 'node-root.sh') {
      await mkdir(join(out ?? '', 'node'), {recursive: true})
      await writeFile(join(out ?? '', 'versions'), 'kubernetes v1.36.3\netcd v3.6.5\n')
    }
    if (program === 'bash') {
      await mkdir(out ?? '', {recursive: true})
      for (const sum of sums) await writeFile(join(out ?? '', `${sum}.tar.gz`), sum.slice(0, 10))
      await writeFile(join(out ?? '', 'sums'), `${sums.join('\n')}\n`)
    }
    return {}
  }
  let now = 0
  const clock = {
    now: () => now,
    sleep: (ms: number) => {
      now += ms
      return Promise.resolve()
    },
  }
  const make = () =>
    new RemoteNode({
      driver: 'ssh',
      host: server,
      runner,
      clock,
      record,
      directory: join(home, 'machine'),
      packageRoot: resolve('.'),
      cache: join(home, 'cache'),
      knownAs: () => Promise.resolve(['198.51.100.9']),
    })
  const said: string[] = []
  const work = {signal: new AbortController().signal, detail: (text: string) => said.push(text)}
  return {home, server, runner, make, work, said}
}

machineContract('a node on a server', async (): Promise<MachineUnderTest> => {
  const {home, server, make} = await world()
  return {
    machine: make(),
    again: make,
    hurt: {
      powerOff: () => {
        server.node = server.wayOut = false
        return Promise.resolve()
      },
      loseWayOut: () => {
        server.wayOut = false
        return Promise.resolve()
      },
      failStart: () => {
        server.starts = false
      },
    },
    left: () =>
      Promise.resolve([
        ...server.layers,
        ...(server.disks ? ['disks'] : []),
        ...(server.scripts ? ['scripts'] : []),
      ]),
    clean: () => rm(home, {recursive: true, force: true}),
  }
})

describe('a node on a server', () => {
  it('gets each layer once, and the rest of one that was cut off', async () => {
    const {home, server, make, work} = await world()
    server.layers.add(sums[0] ?? '')
    server.partial.set(sums[1] ?? '', 4)
    await make().create(work)
    await make().start(work)
    expect(server.uploads).toEqual([{sum: sums[1], offset: 4, bytes: Buffer.from('b'.repeat(6))}])
    const start = server.commands.find((argv) => argv.some((word) => word.endsWith('/node/start.sh'))) ?? []
    expect(start).toContain(
      `CAGE_NODE_LAYERS=/var/lib/cage/shop-00000001/machine/files:/var/lib/cage/layers/${sums[0]}:/var/lib/cage/layers/${sums[1]}`,
    )
    await rm(home, {recursive: true, force: true})
  })

  it('is told names, addresses and limits, calls the programs it brought first, and hears nothing of this computer', async () => {
    const {home, server, make, work} = await world()
    process.env['CAGE_TEST_SECRET'] = 'secret'
    await make().create(work)
    await make().start(work)
    delete process.env['CAGE_TEST_SECRET']
    const start = server.commands.find((argv) => argv.some((word) => word.endsWith('/node/start.sh'))) ?? []
    expect(start.slice(0, 8)).toEqual([
      'env',
      'PATH=/var/lib/cage/shop-00000001/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
      'CAGE_NODE_DIR=/var/lib/cage/shop-00000001/machine',
      'CAGE_NODE_NAME=cage-shop-00000001',
      expect.stringMatching(/^CAGE_NODE_LINK=cage-[0-9a-f]{8}$/),
      'CAGE_NODE_HOST=10.217.0.1/30',
      'CAGE_NODE_ADDRESS=10.217.0.2/30',
      expect.stringContaining('CAGE_NODE_LAYERS='),
    ])
    const everything = JSON.stringify(server.commands)
    expect(everything).not.toContain('secret')
    expect(everything).not.toContain(home)
    await rm(home, {recursive: true, force: true})
  })

  it('closes to pods every address of the server, those included at which it is known from outside', async () => {
    const {home, make} = await world()
    expect(await make().facts()).toMatchObject({
      address: '10.217.0.2',
      architecture: 'amd64',
      cgroup: 'v2',
      around: ['10.9.8.7', '198.51.100.9', '203.0.113.5'],
    })
    await rm(home, {recursive: true, force: true})
  })

  it('is not started once the person interrupted', async () => {
    const {home, server, make} = await world()
    const gone = new AbortController()
    gone.abort(new Error('interrupted'))
    await expect(make().stop({signal: gone.signal, detail: () => undefined})).resolves.toBeUndefined()
    server.disks = true
    await expect(make().stop({signal: gone.signal, detail: () => undefined})).rejects.toThrow('interrupted')
    await rm(home, {recursive: true, force: true})
  })

  it('says on every command that it does not run', async () => {
    const {home, server, make} = await world()
    server.run = () =>
      Promise.resolve({code: 125, stdout: Buffer.from(''), stderr: 'cage: the node does not run\n'})
    await expect(make().transport.run({argv: ['true']})).rejects.toMatchObject({
      code: 'MACHINE_NOT_RUNNING',
      hints: ['Run `cage up`.'],
    })
    await rm(home, {recursive: true, force: true})
  })
})
