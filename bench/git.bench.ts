/**
 * `npm run bench git`: real git pushing, cloning and fetching, directly and through sidecar and dispatcher, against the same
 * server, in turn and in one run. The server waits before every answer; figures without that are printed beside.
 * Runs in a network namespace of its own, because the sidecar has fixed ports. Twenty pushes at once are of twenty tasks and
 * go to the dispatcher without a sidecar each.
 */
import {execFile, spawn, spawnSync, type ChildProcess} from 'node:child_process'
import {randomBytes} from 'node:crypto'
import {once} from 'node:events'
import {chmodSync, mkdirSync, readFileSync, rmSync, writeFileSync} from 'node:fs'
import {promisify} from 'node:util'
import {build} from 'esbuild'
import {signGrant} from '../policy/sign.js'
import {TestDispatcher, type TestTask} from '../test/support/dispatcher.js'
import {GitUpstream} from '../test/support/git-upstream.js'
import {egressGrant} from '../test/support/grants.js'
import {alternate, median, report} from './measure.js'

const DELAY_MS = 80
const SMALL_ROUNDS = 15
const LARGE_ROUNDS = 3
const READ_ROUNDS = 5
const AT_ONCE = 20
const MIB = 1024 * 1024
const FORGE = 'forge.example.com'
const run = promisify(execFile)

if (process.env['CAGE_BENCH_NAMESPACE'] === undefined) {
  const inside = [
    'unshare',
    '--net',
    'sh',
    '-c',
    'ip link set lo up && ip addr add 10.99.0.1/32 dev lo && exec "$@"',
    'sh',
    process.execPath,
  ]
  const {status} = spawnSync(inside[0] ?? '', [...inside.slice(1), process.argv[1] ?? ''], {
    env: {...process.env, CAGE_BENCH_NAMESPACE: '1'},
    stdio: 'inherit',
  })
  process.exit(status ?? 1)
}

class Bench {
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

  static async open(): Promise<Bench> {
    const forge = await GitUpstream.start()
    forge.create()
    forge.box.init('home')
    for (let n = 0; n < 300; n++)
      writeFileSync(forge.box.path(`home/file-${n}.txt`), randomBytes(2000).toString('base64'))
    forge.box.git('home', 'add', '.')
    forge.box.git('home', 'commit', '-qm', 'files')
    forge.box.git('home', 'push', '-q', forge.box.path('root/org/app.git'), 'main')
    const door = await TestDispatcher.startBefore(forge)
    const {task, sidecar} = await startSidecar(door)
    return new Bench(forge, door, task, sidecar)
  }

  async close(): Promise<void> {
    this.sidecar.kill()
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

/** The sidecar of one task beside the test dispatcher, on its own fixed ports. */
async function startSidecar(door: TestDispatcher): Promise<{task: TestTask; sidecar: ChildProcess}> {
  const task = door.upstreamTask('fix', {}, big)
  const folder = door.box.path('sidecar')
  for (const name of ['grant', 'state', 'ledger', 'trust']) mkdirSync(`${folder}/${name}`, {recursive: true})
  chmodSync(folder, 0o755)
  const {project, revision} = task.grant
  const dispatcher = {
    // a sidecar dials no loopback
    address: '10.99.0.1',
    port: door.port,
    ca: door.certificate.toString(),
    hosts: [FORGE, 'git.cage.internal'],
  }
  const egress = egressGrant({task: task.name, project, revision, dispatcher, resolver: []})
  const parts = signGrant(
    {project, task: task.name, revision, handle: task.handle, egress, git: task.grant},
    door.key.privateKeyPem,
  )
  if (door.control({op: 'document.put', part: parts.git}).code !== 0) throw new Error('document.put')
  writeFileSync(`${folder}/grant/egress.json`, JSON.stringify(parts.egress))
  writeFileSync(`${folder}/grant/credentials.json`, '{}')
  writeFileSync(`${folder}/grant/handle`, task.handle)
  writeFileSync(`${folder}/grant-key`, door.key.publicKeyDer)
  writeFileSync(`${folder}/roots.pem`, door.certificate)
  await build({
    bundle: true,
    entryPoints: ['test/integration/proxy/program.ts'],
    format: 'esm',
    logLevel: 'error',
    outfile: `${folder}/program.mjs`,
    platform: 'node',
    target: 'node20',
    banner: {js: "import {createRequire as make} from 'node:module';const require = make(import.meta.url)"},
  })
  const sidecar = spawn(process.execPath, [`${folder}/program.mjs`, 'serve', folder], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  await Promise.race([
    once(sidecar.stdout, 'data'),
    once(sidecar, 'exit').then(() => Promise.reject(new Error('the sidecar did not start'))),
  ])
  return {task, sidecar}
}

const bench = await Bench.open()
try {
  await bench.clones()
  const values: Record<string, number> = {}
  values['small_push_vs_direct_0ms'] = await bench.pushes(SMALL_ROUNDS + 1, 200)
  values['concurrent_push_vs_direct_0ms'] = await bench.together()
  bench.forge.fail({delay: DELAY_MS})
  const small = await bench.pushes(SMALL_ROUNDS + 1, 200)
  const concurrent = await bench.together()
  const {clone, fetch} = await bench.reads()
  const large = await bench.pushes(LARGE_ROUNDS + 1, 50 * MIB)
  bench.commit('caged', 200 * MIB)
  await bench.caged('caged', 'push', '-q', 'origin', 'fix')
  values['rss_mb'] = bench.rss()
  report({
    bench: 'git',
    ratios: {
      small_push_vs_direct: small,
      large_push_vs_direct: large,
      concurrent_push_vs_direct: concurrent,
      clone_vs_direct: clone,
      fetch_vs_direct: fetch,
    },
    targets: {
      small_push_vs_direct: 1.5,
      large_push_vs_direct: 1.2,
      concurrent_push_vs_direct: 1.5,
      clone_vs_direct: 1.1,
      fetch_vs_direct: 1.1,
      rss_mb: 120,
    },
    values,
  })
} finally {
  await bench.close()
}
