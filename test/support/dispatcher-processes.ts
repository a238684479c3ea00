import {execFile, execFileSync, spawn, spawnSync, type ChildProcess} from 'node:child_process'
import {chmodSync, chownSync, mkdirSync, readFileSync, writeFileSync} from 'node:fs'
import {request as sendPlain} from 'node:http'
import {setTimeout as sleep} from 'node:timers/promises'
import {gitHost, smallHeap, uid} from '../../core/layout.js'
import {generateGrantKey} from '../../policy/sign.js'
import {GitSandbox} from './git-sandbox.js'

const PROJECT = 'shop-0a1b2c3d'
/** the upstream's name */
export const forgeHost = 'forge.example.com'
const BANNER = [
  "import {createRequire as __createRequire} from 'node:module'",
  'const require = __createRequire(import.meta.url)',
].join(';')

export interface Finished {
  code: number
  stdout: string
  stderr: string
}

/** The two processes of a dispatcher as they run in its pod, their files, and how they are told things. */
export class DispatcherProcesses {
  readonly box = new GitSandbox()
  readonly key = generateGrantKey()
  readonly volume: string
  readonly run: string
  readonly state: string
  readonly separate = process.getuid?.() === 0
  port = 0
  healthPort = 0
  log = ''
  /** where it listens; in a network namespace of its own when `pod` names one */
  address = '127.0.0.1'
  pod: string | undefined
  /** the files of the gate's certificate, also for a test's own sidecar */
  readonly tls: string
  readonly #children = new Map<'gate' | 'git', ChildProcess>()
  protected readonly bundle: string
  /** the `git` process that dies where it is told to */
  readonly #faulty: string

  protected constructor(volume: string | undefined) {
    const {box} = this
    chmodSync(box.folder, 0o711)
    this.volume = volume ?? this.folder('volume', uid.git)
    if (volume !== undefined && this.separate) chownSync(volume, uid.git, uid.git)
    this.run = this.folder('run', uid.git)
    chmodSync(this.run, 0o777)
    this.state = this.folder('state', uid.gate)
    this.tls = this.folder('tls', uid.gate)
    const code = this.folder('code', 0)
    chmodSync(code, 0o755)
    this.bundle = `${code}/dispatcher.js`
    writeFileSync(`${code}/package.json`, '{"type":"module"}')
    this.#faulty = `${code}/dispatcher-with-faults.js`
    makeBundle('dispatcher/main.ts', this.bundle)
    makeBundle('test/support/dispatcher-with-faults.ts', this.#faulty)
    this.#makeCertificate()
  }

  /**
   * @param options.fault `before PROGRAM` or `after PROGRAM`: where the process kills itself
   * @param options.planted a program that runs instead of one of git
   * @param options.fileBytes no file may grow beyond it, as on a full disk
   */
  startGit(options: {fault?: string; planted?: string; fileBytes?: number} = {}): void {
    const {fault, planted, fileBytes} = options
    const code = fault === undefined && planted === undefined ? this.bundle : this.#faulty
    const argv = [process.execPath, ...smallHeap, code, 'git', '--run', this.run, '--volume', this.volume]
    const limited = fileBytes === undefined ? argv : ['prlimit', `--fsize=${fileBytes}:${fileBytes}`, ...argv]
    this.#spawn('git', limited, uid.git, {
      ...(fault === undefined ? {} : {CAGE_TEST_FAULT: fault}),
      ...(planted === undefined ? {} : {CAGE_TEST_PLANTED: planted}),
    })
  }

  startGate(): void {
    const ports = ['--port', String(this.port), '--health-port', String(this.healthPort)]
    const grantKey = this.key.publicKeyDer.toString('base64')
    const argv = [
      process.execPath,
      this.bundle,
      'gate',
      '--run',
      this.run,
      '--tls',
      this.tls,
      '--state',
      this.state,
      ...ports,
    ]
    this.#spawn('gate', argv, uid.gate, {CAGE_GRANT_KEY: grantKey, CAGE_PROJECT_ID: PROJECT})
  }

  pid(which: 'gate' | 'git'): number {
    return this.#children.get(which)?.pid ?? 0
  }

  async kill(which: 'gate' | 'git', signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    const gone = this.exited(which)
    this.#children.get(which)?.kill(signal)
    await gone
  }

  async exited(which: 'gate' | 'git'): Promise<void> {
    const child = this.#children.get(which)
    if (child?.exitCode !== null || child.signalCode !== null) return
    await new Promise((resolve) => child.once('exit', resolve))
  }

  /** Waits until gate says that both containers answer. */
  async ready(): Promise<void> {
    for (;;) {
      const status = await new Promise<number>((resolve) => {
        sendPlain({host: this.address, port: this.healthPort, path: '/readyz'}, (response) => {
          response.resume()
          resolve(response.statusCode ?? 0)
        })
          .on('error', () => resolve(0))
          .end()
      })
      if (status === 200) return
      for (const [name, child] of this.#children) {
        if (child.exitCode !== null) throw new Error(`${name} ended with ${child.exitCode}\n${this.log}`)
      }
      await sleep(50)
    }
  }

  async stop(): Promise<void> {
    await this.kill('gate')
    await this.kill('git')
    this.box.remove()
  }

  control(request: unknown): Finished {
    return this.#program(['control', '--run', this.run], uid.gate, `${JSON.stringify(request)}\n`)
  }

  /** The same, while a server of this process answers. */
  controlAsync(request: unknown): Promise<Finished> {
    return new Promise((resolve) => {
      const child = execFile(
        process.execPath,
        [this.bundle, 'control', '--run', this.run],
        {env: {}, ...(this.separate ? {uid: uid.gate, gid: uid.gate} : {})},
        (error, stdout, stderr) => resolve({code: error ? 1 : 0, stdout, stderr}),
      )
      child.stdin?.end(`${JSON.stringify(request)}\n`)
    })
  }

  get certificate(): Buffer {
    return readFileSync(`${this.tls}/ca.crt`)
  }

  /** What a test puts on the volume belongs to whom it would belong to. */
  ownVolume(): void {
    if (this.separate) execFileSync('chown', ['-R', `${uid.git}:${uid.git}`, this.volume])
  }

  #program(args: string[], user: number, input: string): Finished {
    const {status, stdout, stderr} = spawnSync(process.execPath, [this.bundle, ...args], {
      env: {},
      input,
      maxBuffer: 1 << 28,
      ...(this.separate ? {uid: user, gid: user} : {}),
    })
    return {code: status ?? -1, stdout: stdout.toString(), stderr: stderr.toString()}
  }

  #spawn(name: 'gate' | 'git', argv: string[], user: number, env: Record<string, string>): void {
    const owner = [`--reuid=${user}`, `--regid=${user}`, '--clear-groups']
    const inPod = ['nsenter', `--net=/run/netns/${this.pod ?? ''}`, 'setpriv', ...owner, ...argv]
    const [file = '', ...args] = this.pod === undefined ? argv : inPod
    const child = spawn(file, args, {
      env: this.pod === undefined ? env : {PATH: process.env['PATH'], ...env},
      stdio: ['ignore', 'pipe', 'pipe'],
      ...(this.separate && this.pod === undefined ? {uid: user, gid: user} : {}),
    })
    const keep = (chunk: Buffer) => (this.log += `${name}: ${chunk.toString()}`)
    child.stdout.on('data', keep)
    child.stderr.on('data', keep)
    this.#children.set(name, child)
  }

  protected folder(name: string, owner: number): string {
    const path = this.box.path(name)
    mkdirSync(path, {recursive: true, mode: 0o700})
    if (this.separate) chownSync(path, owner, owner)
    return path
  }

  #makeCertificate(): void {
    const openssl = (...args: string[]) => execFileSync('openssl', args, {cwd: this.tls, stdio: 'pipe'})
    const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
    openssl(
      'req',
      '-x509',
      ...key,
      '-keyout',
      'ca.key',
      '-out',
      'ca.crt',
      '-days',
      '2',
      '-subj',
      '/CN=test CA',
    )
    openssl('req', ...key, '-keyout', 'tls.key', '-out', 'tls.csr', '-subj', `/CN=${gitHost}`)
    writeFileSync(
      `${this.tls}/san`,
      `subjectAltName=DNS:${gitHost},DNS:${forgeHost},DNS:github.com,DNS:api.github.com`,
    )
    const signer = ['-CA', 'ca.crt', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '2', '-extfile', 'san']
    openssl('x509', '-req', '-in', 'tls.csr', ...signer, '-out', 'tls.crt')
    if (this.separate)
      for (const file of ['tls.key', 'tls.crt']) chownSync(`${this.tls}/${file}`, uid.gate, uid.gate)
  }
}

function makeBundle(entry: string, outfile: string): void {
  const options = ['--bundle', '--platform=node', '--format=esm', '--target=node20', '--log-level=warning']
  execFileSync('node_modules/.bin/esbuild', [
    entry,
    ...options,
    `--banner:js=${BANNER}`,
    `--outfile=${outfile}`,
  ])
}
