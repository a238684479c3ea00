import {execFile, type ChildProcess} from 'node:child_process'
import {randomBytes} from 'node:crypto'
import {once} from 'node:events'
import {readFileSync, rmSync, writeFileSync} from 'node:fs'
import {promisify} from 'node:util'
import {TestDispatcher, type TestTask} from '../../test/support/dispatcher.js'
import {GitUpstream} from '../../test/support/git-upstream.js'
import {alternate, median} from '../measure.js'
import {startSidecar} from './sidecar.js'

const READ_ROUNDS = 5
const AT_ONCE = 20
const MIB = 1024 * 1024
const FORGE = 'forge.example.com'
const run = promisify(execFile)

/** Real git, directly and through sidecar and dispatcher, against the same server. */
export class GitBench {
  readonly forge: GitUpstream
  readonly door: TestDispatcher
  readonly task: TestTask
  readonly sidecar: ChildProcess
  #files = 0

  private constructor(forge: GitUpstream, door: TestDispatcher, task: TestTask, sidecar: ChildProcess) {
    this.forge = forge
    this.door = door
    this.task = task
    this.sidecar = sidecar
  }

  static async open(): Promise<GitBench> {
    const forge = await GitUpstream.start()
    forge.create()
    forge.box.init('home')
    for (let n = 0; n < 300; n++)
      writeFileSync(forge.box.path(`home/file-${n}.txt`), randomBytes(2000).toString('base64'))
    forge.box.git('home', 'add', '.')
    forge.box.git('home', 'commit', '-qm', 'files')
    forge.box.git('home', 'push', '-q', forge.box.path('root/org/app.git'), 'main')
    const door = await TestDispatcher.startBefore(forge)
    const task = door.upstreamTask('fix', {}, big)
    const sidecar = await startSidecar(door, task, [FORGE, 'git.cage.internal'])
    return new GitBench(forge, door, task, sidecar)
  }

  /** Its ports are free for another one then. */
  async stopSidecar(): Promise<void> {
    if (this.sidecar.exitCode !== null) return
    const gone = once(this.sidecar, 'exit')
    this.sidecar.kill()
    await gone
  }

  async close(): Promise<void> {
    await this.stopSidecar()
    await this.door.stop()
    await this.forge.stop()
  }

  /** git as it runs without cage: to the server itself, credential in hand, no question asked twice. */
  direct(where: string, ...args: string[]): Promise<void> {
    const {forge} = this
    const basic = Buffer.from(`x-access-token:${forge.token}`).toString('base64')
    return this.#git(where, args, [
      ['http.sslCAInfo', `${forge.box.folder}/ca.crt`],
      ['http.extraHeader', `Authorization: Basic ${basic}`],
      ['http.curloptResolve', `${FORGE}:${forge.port}:127.0.0.1`],
      [`url.https://${FORGE}:${forge.port}/.insteadOf`, `https://${FORGE}/`],
    ])
  }

  /** git in a task: sidecar, dispatcher, server. */
  caged(where: string, ...args: string[]): Promise<void> {
    return this.#git(where, args, [
      ['http.sslCAInfo', this.door.box.path('sidecar/trust/ca.pem')],
      ['http.proxy', 'http://127.0.0.1:3128'],
    ])
  }

  /** Commits one file of so many random bytes to the branch of a clone. */
  commit(where: string, bytes = 200): void {
    const {box} = this.door
    const name = `new-${++this.#files}.bin`
    for (let part = 0, left = bytes; left > 0; part++, left -= 5 * MIB)
      writeFileSync(`${box.path(where)}/${part}-${name}`, randomBytes(Math.min(left, 5 * MIB)))
    box.git(where, 'add', '.')
    box.git(where, 'commit', '-qm', name)
  }

  async clones(): Promise<void> {
    await this.direct('.', 'clone', '-q', `https://${FORGE}/org/app.git`, 'direct')
    await this.caged('.', 'clone', '-q', `https://${FORGE}/org/app.git`, 'caged')
    this.door.box.git('direct', 'checkout', '-q', '-b', 'direct')
    this.door.box.git('caged', 'checkout', '-q', '-b', 'fix')
  }

  async pushes(rounds: number, bytes: number): Promise<number> {
    const times = await alternate(rounds, {
      direct: () => this.direct('direct', 'push', '-q', 'origin', 'direct'),
      caged: () => this.caged('caged', 'push', '-q', 'origin', 'fix'),
      next: () => {
        this.commit('direct', bytes)
        this.commit('caged', bytes)
        return Promise.resolve()
      },
    })
    // The first round has nothing to push yet.
    return median(times.caged.slice(1)) / median(times.direct.slice(1))
  }

  async reads(): Promise<{clone: number; fetch: number}> {
    const url = `https://${FORGE}/org/app.git`
    const clone = async (how: 'direct' | 'caged') => {
      rmSync(this.door.box.path(`read-${how}`), {recursive: true, force: true})
      await this[how]('.', 'clone', '-q', '--single-branch', url, `read-${how}`)
    }
    const clones = await alternate(READ_ROUNDS, {
      direct: () => clone('direct'),
      caged: () => clone('caged'),
    })
    const fetches = await alternate(READ_ROUNDS + 1, {
      direct: () => this.direct('read-direct', 'fetch', '-q', 'origin', 'main'),
      caged: () => this.caged('read-caged', 'fetch', '-q', 'origin', 'main'),
      next: () => {
        this.forge.box.commit(
          'home',
          'main',
          `later-${++this.#files}.txt`,
          randomBytes(5000).toString('base64'),
        )
        this.forge.box.git('home', 'push', '-q', this.forge.box.path('root/org/app.git'), 'main')
        return Promise.resolve()
      },
    })
    return {
      clone: median(clones.caged) / median(clones.direct),
      fetch: median(fetches.caged.slice(1)) / median(fetches.direct.slice(1)),
    }
  }

  /** Wall time of many pushes at once, each of a branch of its own. */
  async together(): Promise<number> {
    const {box} = this.door
    const series = ++this.#files
    const many = (n: number) => `many-${series}-${n}`
    const tasks = Array.from({length: AT_ONCE}, (_, n) => this.door.upstreamTask(many(n), {}, big))
    for (const [n] of tasks.entries()) {
      box.git('.', 'clone', '-q', 'direct', many(n))
      box.git(many(n), 'checkout', '-q', '-b', many(n))
    }
    const times = await alternate(3, {
      next: () => {
        for (const [n] of tasks.entries()) this.commit(many(n))
        return Promise.resolve()
      },
      direct: async () => {
        const url = `https://${FORGE}/org/app.git`
        await Promise.all(
          tasks.map((_, n) => this.direct(many(n), 'push', '-q', url, `HEAD:direct-${series}-${n}`)),
        )
      },
      caged: async () => {
        const url = this.door.forgeUrl()
        const done = await Promise.all(
          tasks.map((task, n) => this.door.gitAsAsync(task, many(n), 'push', '-q', url, many(n))),
        )
        const failed = done.find(({code}) => code !== 0)
        if (failed) throw new Error(failed.stderr)
      },
    })
    return median(times.caged) / median(times.direct)
  }

  /** MiB that the larger of the two processes holds. */
  rss(): number {
    const of = (pid: number) =>
      Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024
    return Math.max(of(this.door.pid('gate')), of(this.door.pid('git')))
  }

  async #git(where: string, args: string[], config: [string, string][]): Promise<void> {
    const env: Record<string, string> = {...this.door.box.env, GIT_TERMINAL_PROMPT: '0'}
    env['GIT_CONFIG_COUNT'] = String(config.length)
    config.forEach(([name, value], index) => {
      env[`GIT_CONFIG_KEY_${index}`] = name
      env[`GIT_CONFIG_VALUE_${index}`] = value
    })
    await run('git', ['-C', this.door.box.path(where), ...args], {env})
  }
}

const big = {
  limits: {packBytes: 512 * MIB, blobBytes: 64 * MIB, objects: 50_000, commits: 500, refs: 8, seconds: 600},
}
