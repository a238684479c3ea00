import {mkdir, mkdtemp, rm, writeFile} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {basename, join, resolve} from 'node:path'
import {PassThrough} from 'node:stream'
import type {CommandResult} from '../../core/runner.js'
import {RemoteNode} from '../../provision/machine/remote-node.js'
import type {MachineRecord} from '../../provision/state/machine-record.js'
import {networkOf} from '../../provision/state/network.js'
import type {RemoteCommand, RemoteTransport} from '../../provision/transport/transport.js'
import {FakeRunner} from './fake-runner.js'

const GIB = 1024 ** 3

/** What one project has on the server. */
export class FakePlace {
  scripts = false
  disks = false
  node = false
  wayOut = false
  /** of the last start */
  limits: {cpus: number; memory: number} | undefined
}

/** A server whose scripts do what they are told, in so far as a machine notices. */
export class FakeServer implements RemoteTransport {
  readonly commands: string[][] = []
  readonly layers = new Set<string>()
  readonly uploads: {sum: string; offset: number; bytes: Buffer}[] = []
  readonly places = new Map<string, FakePlace>()
  starts = true
  closed = 0
  /** bytes of its disk */
  free = 100 * GIB
  /** bytes of a layer that an earlier upload left */
  partial = new Map<string, number>()

  place(id: string): FakePlace {
    const there = this.places.get(id) ?? new FakePlace()
    this.places.set(id, there)
    return there
  }

  async run({argv, input}: RemoteCommand): Promise<CommandResult> {
    this.commands.push([...argv])
    const said = this.answer([...argv], input)
    return Promise.resolve({code: 0, stdout: Buffer.from(''), stderr: '', ...said})
  }

  private answer(argv: string[], input: unknown): Partial<CommandResult> {
    const text = (stdout: string) => ({stdout: Buffer.from(stdout)})
    const id = /\/var\/lib\/cage\/([a-z0-9-]+-[0-9a-f]{8})/.exec(argv.join(' '))?.[1] ?? ''
    const place = this.place(id)
    if (argv[0] === 'cat') return place.scripts ? text('') : {code: 1}
    if (argv[0] === 'sh' && input !== undefined) place.scripts = true
    if (argv[0] === 'stat') return text(`${this.free / 4096} 4096\n`)
    if (argv[0] === 'tail') return text('mount: no overlay\n')
    const at = argv.findIndex((word) => /\/guest\/node\/\w+\.sh$/.test(word))
    const [script = '', ...args] = argv.slice(at)
    const limit = (name: string) => Number(argv.find((word) => word.startsWith(`${name}=`))?.split('=')[1])
    switch (basename(script)) {
      case 'state.sh':
        if (!place.disks) return text('absent\n')
        return text(place.node ? (place.wayOut ? 'running\n' : 'broken\n') : 'stopped\n')
      case 'disks.sh':
        place.disks = true
        return {}
      case 'start.sh':
        if (!place.node) place.limits = {cpus: limit('CAGE_NODE_CPUS'), memory: limit('CAGE_NODE_MEMORY')}
        place.node = place.node || this.starts
        place.wayOut = place.node
        return {}
      case 'stop.sh':
        place.node = place.wayOut = false
        return {}
      case 'remove.sh':
        this.places.delete(id)
        if (![...this.places.values()].some(({disks}) => disks)) this.layers.clear()
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

  /** names of everything that cage left on it */
  left(): string[] {
    const places = [...this.places].filter(([, {disks, scripts, node}]) => disks || scripts || node)
    return [...this.layers, ...places.map(([id]) => id)]
  }
}

export const record: MachineRecord = {
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

/** names of the two layers that a node starts from */
export const sums = ['a'.repeat(64), 'b'.repeat(64)]

/** A computer on which everything can be built at once, and a server. */
export async function remoteWorld() {
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
  const make = (over: Partial<MachineRecord> = {}) =>
    new RemoteNode({
      driver: over.driver ?? 'ssh',
      host: server,
      runner,
      clock,
      record: {...record, ...over},
      packageRoot: resolve('.'),
      cache: join(home, 'cache'),
      knownAs: () => Promise.resolve(['198.51.100.9']),
    })
  const said: string[] = []
  const work = {signal: new AbortController().signal, detail: (text: string) => said.push(text)}
  const clean = () => rm(home, {recursive: true, force: true})
  return {home, server, runner, make, work, said, clean}
}
