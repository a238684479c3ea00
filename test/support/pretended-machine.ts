import {spawn, type ChildProcess} from 'node:child_process'
import {chmod, cp, mkdir, mkdtemp, readFile, rm, writeFile} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join, resolve} from 'node:path'
import {processRunner} from '../../core/process.js'
import {namespaceTransport} from '../../provision/transport/namespace.js'
import type {RemoteTransport} from '../../provision/transport/transport.js'

export const noNamespaces = process.getuid?.() === 0 ? undefined : 'a machine in namespaces needs root'

/**
 * A machine in namespaces with this computer's programs, its own /etc, /var, /run and /usr/local, its own network, and the
 * pretended programs of one kind of cluster. cage's scripts really run there.
 */
export class PretendedMachine {
  private readonly directory: string
  private process: ChildProcess | undefined
  /** where a tunnel was asked to lead */
  readonly tunnels: {address: string; port: number}[] = []
  readonly transport: RemoteTransport

  private constructor(directory: string) {
    this.directory = directory
    this.transport = {
      ...namespaceTransport(processRunner, () => this.firstProcess()),
      tunnel: (to) => {
        this.tunnels.push(to)
        return Promise.resolve({port: 40_001})
      },
      close: () => Promise.resolve(),
    }
  }

  static async make(kind: 'kubeadm' | 'microk8s'): Promise<PretendedMachine> {
    const machine = new PretendedMachine(await mkdtemp(join(tmpdir(), 'cage-pretended-')))
    const {directory} = machine
    for (const part of [
      'run',
      'usr-local/bin',
      'usr-local/lib',
      'var/lib/pretend/wrong',
      'var/lib/etcd',
      'var/log',
      'var/tmp',
    ])
      await mkdir(join(directory, part), {recursive: true})
    await cp('/etc', join(directory, 'etc'), {recursive: true, verbatimSymlinks: true})
    await rm(join(directory, 'etc/cage'), {recursive: true, force: true})
    await rm(join(directory, 'etc/kubernetes'), {recursive: true, force: true})
    const programs = resolve('test/support/cluster-programs')
    for (const from of ['both', kind])
      await cp(join(programs, from), join(directory, 'usr-local/bin'), {recursive: true})
    await machine.boot()
    return machine
  }

  async boot(): Promise<void> {
    const enter = `set -e
      for part in etc var run; do mount --bind "$1/$part" /$part; done
      mount --bind "$1/usr-local" /usr/local
      ip link set lo up
      ip link add eth9 type veth peer name peer9; ip addr add 10.77.0.5/24 dev eth9
      ip link set eth9 up; ip link set peer9 up
      ip route add default via 10.77.0.1
      echo ready; exec sleep infinity`
    const namespaces = [
      '--mount',
      '--net',
      '--uts',
      '--ipc',
      '--pid',
      '--cgroup',
      '--mount-proc',
      '--fork',
      '--kill-child',
    ]
    const child = spawn('unshare', [...namespaces, 'bash', '-c', enter, 'bash', this.directory])
    let said = ''
    child.stderr.on('data', (chunk: Buffer) => (said += chunk.toString()))
    this.process = child
    await new Promise((next, reject) => {
      child.stdout.once('data', next)
      child.once('exit', () => reject(new Error(`the pretended machine did not start: ${said}`)))
    })
  }

  /** Power is cut: what runs is gone, what was written stays. */
  async powerOff(): Promise<void> {
    const ended = new Promise((next) => this.process?.once('exit', next))
    this.process?.kill('SIGKILL')
    await ended
    this.process = undefined
    await rm(join(this.directory, 'run'), {recursive: true, force: true})
    await mkdir(join(this.directory, 'run'))
  }

  get runs(): boolean {
    return this.process !== undefined
  }

  /** From now on this goes wrong: always, or that many times. */
  async wrong(what: string, times?: number): Promise<void> {
    await writeFile(this.path(`var/lib/pretend/wrong/${what}`), times === undefined ? '' : String(times))
  }

  async mended(): Promise<void> {
    await rm(this.path('var/lib/pretend/wrong'), {recursive: true})
    await mkdir(this.path('var/lib/pretend/wrong'))
  }

  /** What the pretended programs were asked, one command line each. */
  async calls(): Promise<string[]> {
    return (await readFile(this.path('var/lib/pretend/calls'), 'utf8').catch(() => '')).trim().split('\n')
  }

  read(path: string): Promise<string> {
    return readFile(this.path(path), 'utf8')
  }

  async write(path: string, content: string, mode = 0o644): Promise<void> {
    await mkdir(join(this.path(path), '..'), {recursive: true})
    await writeFile(this.path(path), content)
    await chmod(this.path(path), mode)
  }

  async remove(): Promise<void> {
    if (this.runs) await this.powerOff()
    await rm(this.directory, {recursive: true, force: true})
  }

  private path(path: string): string {
    return join(this.directory, path.replace(/^\/?usr\/local/, 'usr-local'))
  }

  private async firstProcess(): Promise<number> {
    const pid = this.process?.pid ?? 0
    const children = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8')
    return Number(children.trim().split(' ')[0])
  }
}
