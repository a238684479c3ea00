import {execFileSync, spawn, type ChildProcess} from 'node:child_process'
import {createHash} from 'node:crypto'
import {once} from 'node:events'
import {chmodSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync} from 'node:fs'
import {GitSandbox} from './git-sandbox.js'

const HOST = 'forge.example.com'

/** What the upstream does wrong, or slowly. */
export interface UpstreamFaults {
  /** milliseconds before every answer */
  delay: number
  /** applies a push and closes the connection without an answer */
  dropAfterPush: boolean
  /** closes the connection when a push arrives */
  dropBeforePush: boolean
  /** answers this instead */
  status?: number
  /** only Bearer is known */
  bearer: boolean
  /** where it says that its LFS objects are */
  lfsHref?: string
  /** says in its messages what it was shown; of a push, or in every answer */
  echoes: boolean | 'always'
}

const NO_FAULTS: UpstreamFaults = {
  delay: 0,
  dropAfterPush: false,
  dropBeforePush: false,
  bearer: false,
  echoes: false,
}

/** What a dispatcher needs to know of a server that branches go to. */
export interface Forge {
  address: string
  port: number
  /** PEM */
  ca: string
  token: string
  url(path?: string): string
}

/** A git server of somebody else: git-upstream-server.mjs as a process, its repositories in a sandbox. */
export class GitUpstream implements Forge {
  readonly box = new GitSandbox()
  readonly token = `sentinel-${'x7Qp'.repeat(6)}`
  address = '127.0.0.1'
  port = 0
  #server: ChildProcess | undefined

  static async start(address = '127.0.0.1'): Promise<GitUpstream> {
    const upstream = new GitUpstream()
    upstream.address = address
    const {folder} = upstream.box
    makeCertificate(folder)
    upstream.fail({})
    const server = spawn(
      process.execPath,
      ['test/support/git-upstream-server.mjs', folder, upstream.token, address],
      {
        env: {PATH: process.env['PATH'] ?? ''},
        stdio: ['ignore', 'pipe', 'inherit'],
      },
    )
    upstream.#server = server
    const ended = once(server, 'exit').then(() => Promise.reject(new Error('the upstream did not start')))
    const [line] = (await Promise.race([once(server.stdout, 'data'), ended])) as [Buffer]
    ended.catch(() => undefined)
    upstream.port = Number(line.toString())
    return upstream
  }

  /** From the next request on; everything that is not named works. */
  fail(faults: Partial<UpstreamFaults>): void {
    writeFileSync(`${this.box.folder}/faults.json`, JSON.stringify({...NO_FAULTS, ...faults}))
  }

  /** `METHOD target` since the last call, in order */
  seen(): string[] {
    const path = `${this.box.folder}/seen`
    const lines = existsSync(path) ? readFileSync(path, 'utf8').split('\n').filter(Boolean) : []
    rmSync(path, {force: true})
    return lines
  }

  get ca(): string {
    return readFileSync(`${this.box.folder}/ca.crt`, 'utf8')
  }

  url(path = 'org/app.git'): string {
    return `https://${HOST}/${path}`
  }

  /** a bare repository that takes pushes */
  create(path = 'org/app.git', ...args: string[]): void {
    mkdirSync(this.box.path(`root/${path}`), {recursive: true})
    const directory = this.box.path(`root/${path}`)
    execFileSync('git', ['init', '-q', '--bare', '-b', 'main', ...args, directory], {env: this.box.env})
    execFileSync('git', ['--git-dir', directory, 'config', 'http.receivepack', 'true'], {env: this.box.env})
  }

  /** puts a Git LFS object there. @returns its id */
  lfsObject(content: string): {oid: string; size: number} {
    const oid = createHash('sha256').update(content).digest('hex')
    mkdirSync(this.box.path('lfs'), {recursive: true})
    writeFileSync(this.box.path(`lfs/${oid}`), content)
    return {oid, size: Buffer.byteLength(content)}
  }

  /** the repository itself, as its owner sees it */
  git(path: string, ...args: string[]): string {
    return execFileSync('git', ['--git-dir', this.box.path(`root/${path}`), ...args], {
      env: this.box.env,
      stdio: ['pipe', 'pipe', 'pipe'],
      maxBuffer: 1 << 28,
    })
      .toString()
      .trim()
  }

  refs(path = 'org/app.git'): Record<string, string> {
    const lines = this.git(path, 'for-each-ref', '--format=%(refname) %(objectname)')
      .split('\n')
      .filter(Boolean)
    return Object.fromEntries(lines.map((line) => line.split(' ') as [string, string]))
  }

  has(object: string, path = 'org/app.git'): boolean {
    try {
      this.git(path, 'cat-file', '-e', object)
      return true
    } catch {
      return false
    }
  }

  async stop(): Promise<void> {
    const server = this.#server
    if (server?.exitCode === null) {
      const gone = once(server, 'exit')
      server.kill()
      await gone
    }
    this.box.remove()
  }
}

/** tls.crt and tls.key for the forge's name, signed by ca.crt. */
export function makeCertificate(folder: string): void {
  chmodSync(folder, 0o711)
  const openssl = (...args: string[]) => execFileSync('openssl', args, {cwd: folder, stdio: 'pipe'})
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2']
  openssl('req', '-x509', ...key, '-keyout', 'ca.key', '-out', 'ca.crt', '-subj', '/CN=forge CA')
  const san = ['-subj', `/CN=${HOST}`, '-addext', `subjectAltName=DNS:${HOST}`]
  openssl('req', ...key.slice(0, -2), '-keyout', 'tls.key', '-out', 'tls.csr', ...san)
  const signer = [
    '-CA',
    'ca.crt',
    '-CAkey',
    'ca.key',
    '-CAcreateserial',
    '-days',
    '2',
    '-copy_extensions',
    'copy',
  ]
  openssl('x509', '-req', '-in', 'tls.csr', ...signer, '-out', 'tls.crt')
}
