import {execFileSync, spawn, type ChildProcess} from 'node:child_process'
import {createHash} from 'node:crypto'
import {
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import {request as send} from 'node:https'
import {createServer} from 'node:net'
import {userInfo} from 'node:os'
import {setTimeout as sleep} from 'node:timers/promises'
import {GitSandbox} from './git-sandbox.js'
import {makeCertificate, type Forge} from './git-upstream.js'

const store = '/var/cache/cage-test'
const recipe = 'test/clients/gitea'
const module = 'code.gitea.io/gitea'
const OWNER = 'team'
const PASSWORD = 'a-Long-enough-1-password'
const NOBODY = 65534

/** The program, compiled once per version and computer, and the folder of files that it reads; or why it cannot be had. */
export function giteaProgram(): {folder: string} | {missing: string} {
  const lock = ['go.mod', 'go.sum'].map((name) => readFileSync(`${recipe}/${name}`))
  const key = createHash('sha256').update(Buffer.concat(lock)).digest('hex').slice(0, 16)
  const folder = `${store}/gitea-${key}`
  if (existsSync(folder)) return {folder}
  const draft = `${folder}.${process.pid}`
  const go = (...args: string[]) => execFileSync('go', args, {cwd: recipe, stdio: 'pipe'}).toString().trim()
  const tags = ['-tags', 'sqlite sqlite_unlock_notify']
  try {
    mkdirSync(draft, {recursive: true})
    go('build', '-mod=readonly', '-buildvcs=false', '-trimpath', ...tags, '-o', `${draft}/gitea`, module)
    const source = go('list', '-mod=readonly', '-m', '-f', '{{.Dir}}', module)
    for (const name of ['templates', 'options', 'public'])
      cpSync(`${source}/${name}`, `${draft}/${name}`, {recursive: true})
    execFileSync('chmod', ['-R', 'u+w,a+rX', draft])
    renameSync(draft, folder)
  } catch (error) {
    rmSync(draft, {recursive: true, force: true})
    return {missing: `Gitea cannot be compiled here: ${String(error).split('\n')[0] ?? ''}`}
  }
  return {folder}
}

interface Called {
  status: number
  text: string
}

/** A real forge on the loopback, under the name of somebody else's server: TLS, one user, one token. What its API says is the judge. */
export class Gitea implements Forge {
  readonly box = new GitSandbox()
  readonly address = '127.0.0.1'
  port = 0
  token = ''
  readonly #folder: string
  #server: ChildProcess | undefined
  #log = ''

  private constructor(folder: string) {
    this.#folder = folder
  }

  static async start(folder: string): Promise<Gitea> {
    const forge = new Gitea(folder)
    const {box} = forge
    makeCertificate(box.folder)
    forge.port = await freePort()
    mkdirSync(box.path('work'))
    for (const name of ['tls.crt', 'tls.key']) cpSync(box.path(name), box.path(`work/${name}`))
    writeFileSync(box.path('work/app.ini'), settings(folder, box.path('work'), forge.port))
    chmodSync(box.path('work/tls.key'), 0o600)
    if (isRoot())
      for (const name of ['', '/app.ini', '/tls.crt', '/tls.key'])
        chownSync(box.path(`work${name}`), NOBODY, NOBODY)
    forge.#run('migrate')
    const user = ['--username', OWNER, '--email', 'team@shop.invalid', '--password', PASSWORD]
    forge.#run('admin', 'user', 'create', ...user, '--admin', '--must-change-password=false')
    const token = ['--username', OWNER, '--token-name', 'cage', '--scopes', 'all', '--raw']
    forge.token = forge.#run('admin', 'user', 'generate-access-token', ...token).trim()
    forge.#server = spawn(`${folder}/gitea`, ['web', '--config', box.path('work/app.ini')], {
      ...forge.#options(),
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    for (const stream of [forge.#server.stdout, forge.#server.stderr])
      stream?.on('data', (chunk: Buffer) => (forge.#log += chunk.toString()))
    while ((await forge.call('GET', '/api/v1/version').catch(() => undefined))?.status !== 200) {
      if (forge.#server.exitCode !== null) throw new Error(`Gitea did not start: ${forge.#log}`)
      await sleep(100)
    }
    return forge
  }

  get ca(): string {
    return readFileSync(this.box.path('ca.crt'), 'utf8')
  }

  url(path = `${OWNER}/app.git`): string {
    return `https://forge.example.com/${path}`
  }

  /** A repository with one commit on main. */
  async create(name: string): Promise<void> {
    const made = await this.call('POST', '/api/v1/user/repos', {name, private: true, default_branch: 'main'})
    if (made.status !== 201) throw new Error(`${name}: ${made.text}`)
    this.box.init(name)
    this.box.commit(name, 'main', 'README.md', `${name}\n`)
    this.push(name, 'main')
  }

  /** As a person with the token, past the dispatcher. */
  push(where: string, ...refs: string[]): void {
    const url = `https://${OWNER}:${this.token}@forge.example.com:${this.port}/${OWNER}/${where}.git`
    const way = ['-c', `http.curloptResolve=forge.example.com:${this.port}:${this.address}`]
    this.box.git(where, ...way, '-c', `http.sslCAInfo=${this.box.path('ca.crt')}`, 'push', '-q', url, ...refs)
  }

  async refs(name = 'app'): Promise<Record<string, string>> {
    const {status, text} = await this.call('GET', `/api/v1/repos/${OWNER}/${name}/git/refs`)
    if (status !== 200) throw new Error(text)
    const refs = JSON.parse(text) as {ref: string; object: {sha: string}}[]
    return Object.fromEntries(refs.map(({ref, object}) => [ref, object.sha]))
  }

  /** Stores a Git LFS object as its client would. @returns its id */
  async lfsObject(content: string): Promise<{oid: string; size: number}> {
    const object = {oid: createHash('sha256').update(content).digest('hex'), size: Buffer.byteLength(content)}
    const headers = {accept: 'application/vnd.git-lfs+json', 'content-type': 'application/vnd.git-lfs+json'}
    const asked = {operation: 'upload', transfers: ['basic'], objects: [object]}
    const {text} = await this.call('POST', `/${OWNER}/app.git/info/lfs/objects/batch`, asked, headers)
    const {objects} = JSON.parse(text) as {
      objects: {actions: {upload: {href: string; header?: Record<string, string>}}}[]
    }
    const {href, header} = objects[0]?.actions.upload ?? {href: ''}
    const put = await this.call('PUT', new URL(href).pathname, content, {
      ...header,
      'content-type': 'application/octet-stream',
    })
    if (put.status !== 200) throw new Error(put.text)
    return object
  }

  call(method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<Called> {
    const authorization = `Basic ${Buffer.from(`${OWNER}:${this.token}`).toString('base64')}`
    const name = 'forge.example.com'
    const where = {host: this.address, port: this.port, servername: name, ca: this.ca, agent: false as const}
    return new Promise((resolve, reject) => {
      const request = send(
        {
          ...where,
          method,
          path,
          headers: {authorization, 'content-type': 'application/json', ...headers, host: name},
        },
        (response) => {
          const chunks: Buffer[] = []
          response.on('data', (chunk: Buffer) => chunks.push(chunk))
          response.on('end', () =>
            resolve({status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString()}),
          )
        },
      )
      request.on('error', reject)
      request.end(body === undefined || typeof body === 'string' ? body : JSON.stringify(body))
    })
  }

  async stop(): Promise<void> {
    const server = this.#server
    if (server?.exitCode === null) {
      const gone = new Promise((resolve) => server.once('exit', resolve))
      server.kill('SIGKILL')
      await gone
    }
    this.box.remove()
  }

  #run(...args: string[]): string {
    const argv = [...args, '--config', this.box.path('work/app.ini')]
    return execFileSync(`${this.#folder}/gitea`, argv, {...this.#options(), stdio: 'pipe'}).toString()
  }

  #options() {
    const env = {
      PATH: process.env['PATH'] ?? '',
      HOME: this.box.path('work'),
      GITEA_WORK_DIR: this.box.path('work'),
    }
    return {cwd: this.box.path('work'), env, ...(isRoot() ? {uid: NOBODY, gid: NOBODY} : {})}
  }
}

function settings(folder: string, work: string, port: number): string {
  const user = isRoot() ? 'nobody' : userInfo().username
  const sections: Record<string, Record<string, string | number | boolean>> = {
    server: {
      PROTOCOL: 'https',
      CERT_FILE: `${work}/tls.crt`,
      KEY_FILE: `${work}/tls.key`,
      HTTP_ADDR: '127.0.0.1',
      HTTP_PORT: port,
      DOMAIN: 'forge.example.com',
      ROOT_URL: 'https://forge.example.com/',
      LOCAL_ROOT_URL: `https://127.0.0.1:${port}/`,
      DISABLE_SSH: true,
      OFFLINE_MODE: true,
      LFS_START_SERVER: true,
      LFS_JWT_SECRET: secret(),
      STATIC_ROOT_PATH: folder,
    },
    database: {DB_TYPE: 'sqlite3', PATH: `${work}/forge.db`},
    repository: {ROOT: `${work}/repositories`, DEFAULT_BRANCH: 'main'},
    lfs: {PATH: `${work}/lfs`},
    security: {INSTALL_LOCK: true, SECRET_KEY: secret(), INTERNAL_TOKEN: secret()},
    oauth2: {ENABLED: false, JWT_SECRET: secret()},
    service: {DISABLE_REGISTRATION: true},
    log: {MODE: 'console', LEVEL: 'error', ROOT_PATH: `${work}/log`},
    actions: {ENABLED: false},
    packages: {ENABLED: false},
    cron: {ENABLED: false},
  }
  const lines = Object.entries(sections).flatMap(([name, values]) => [
    `[${name}]`,
    ...Object.entries(values).map(([key, value]) => `${key} = ${value}`),
  ])
  return [`RUN_USER = ${user}`, 'RUN_MODE = prod', `WORK_PATH = ${work}`, ...lines, ''].join('\n')
}

function secret(): string {
  return Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString('base64url')
}

function isRoot(): boolean {
  return process.getuid?.() === 0
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject).listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => resolve(typeof address === 'object' && address ? address.port : 0))
    })
  })
}
