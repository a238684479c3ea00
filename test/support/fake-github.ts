import {execFileSync, spawn} from 'node:child_process'
import {createVerify, generateKeyPairSync, randomBytes} from 'node:crypto'
import {mkdirSync, readFileSync} from 'node:fs'
import type {IncomingMessage, ServerResponse} from 'node:http'
import {createServer, type Server} from 'node:https'
import {executeGraphql} from './fake-github-graphql.js'
import {answerRest, listed} from './fake-github-rest.js'
import {FakeWorld, type FakeRepository} from './fake-github-world.js'
import {GitSandbox} from './git-sandbox.js'

export const fileHost = 'results-receiver.actions.githubusercontent.com'
const HOSTS = ['github.com', 'api.github.com', fileHost]

interface IssuedToken {
  /** of the installation; absent = of a person */
  account?: string
  repositories: string[]
  permissions: Record<string, string>
  revoked: boolean
}

export interface SeenRequest {
  host: string
  method: string
  url: string
  body: string
  headers: IncomingMessage['headers']
}

/**
 * GitHub on loopback, all its hosts behind one port: apps and their tokens, REST and GraphQL over a small world, git through
 * git http-backend. It does what it is asked, merging included: whether it was asked is what tests look at.
 */
export class FakeGithub {
  readonly box = new GitSandbox()
  readonly world = new FakeWorld()
  readonly seen: SeenRequest[] = []
  readonly tokens = new Map<string, IssuedToken>()
  readonly app = 1234
  readonly installation = 56
  /** where the app is installed: id → account */
  readonly installations = new Map([[56, 'org']])
  readonly key: string
  readonly #publicKey: string
  readonly permissions: Record<string, string> = {
    contents: 'write',
    pull_requests: 'write',
    issues: 'write',
    checks: 'read',
    statuses: 'read',
    actions: 'write',
    metadata: 'read',
    administration: 'write',
  }
  /** answers this to every API request */
  status: number | undefined
  /** says in every answer what it was shown */
  echoes = false
  /** redirects logs here */
  fileHost = fileHost
  port = 0
  #server: Server | undefined

  private constructor() {
    const {privateKey, publicKey} = generateKeyPairSync('rsa', {modulusLength: 2048})
    this.key = privateKey.export({type: 'pkcs1', format: 'pem'}).toString()
    this.#publicKey = publicKey.export({type: 'spki', format: 'pem'}).toString()
  }

  static async start(at = '127.0.0.1'): Promise<FakeGithub> {
    const github = new FakeGithub()
    const {box} = github
    const openssl = (...args: string[]) => execFileSync('openssl', args, {cwd: box.folder, stdio: 'pipe'})
    const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
    openssl(
      'req',
      '-x509',
      ...key,
      '-days',
      '2',
      '-keyout',
      'ca.key',
      '-out',
      'ca.crt',
      '-subj',
      '/CN=github CA',
    )
    const names = HOSTS.map((host) => `DNS:${host}`).join(',')
    openssl(
      'req',
      ...key,
      '-keyout',
      'tls.key',
      '-out',
      'tls.csr',
      '-subj',
      '/CN=github.com',
      '-addext',
      `subjectAltName=${names}`,
    )
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
    const read = (name: string) => readFileSync(`${box.folder}/${name}`)
    const server = createServer({cert: read('tls.crt'), key: read('tls.key')}, (request, response) => {
      github.#answer(request, response).catch(() => response.destroy())
    })
    github.#server = server
    await new Promise<void>((resolve) => server.listen(0, at, resolve))
    const address = server.address()
    github.port = typeof address === 'object' && address ? address.port : 0
    github.#create('org/app.git')
    github.#create('org/other.git')
    github.world.hasBranch = (path, branch) => github.refs(path).includes(`\trefs/heads/${branch}\n`)
    return github
  }

  get ca(): string {
    return readFileSync(`${this.box.folder}/ca.crt`, 'utf8')
  }

  /** Somebody forks a repository, as it is now. @param installation of the app in that account */
  fork(owner: string, installation?: number, name = 'app', parent = this.world.app): FakeRepository {
    const fork = {id: `R_${owner}_${name}`, owner, name, parent, pulls: [], issues: [], runs: []}
    this.world.repositories.push(fork)
    if (installation !== undefined) this.installations.set(installation, owner)
    const directory = this.box.path(`${owner}/${name}.git`)
    const git = (...args: string[]) => execFileSync('git', args, {env: this.box.env, stdio: 'pipe'})
    git('clone', '-q', '--bare', this.box.path(`${parent.owner}/${parent.name}.git`), directory)
    git('--git-dir', directory, 'config', 'http.receivepack', 'true')
    return fork
  }

  /** a token that is good for everything, as a person's would be */
  issue(token = `ghs_${randomBytes(24).toString('hex')}`): string {
    this.tokens.set(token, {repositories: ['app', 'other'], permissions: this.permissions, revoked: false})
    return token
  }

  refs(path = 'org/app.git'): string {
    return execFileSync('git', ['--git-dir', this.box.path(path), 'for-each-ref'], {
      env: this.box.env,
    }).toString()
  }

  async stop(): Promise<void> {
    this.#server?.closeAllConnections()
    await new Promise((resolve) => this.#server?.close(resolve))
    this.box.remove()
  }

  #create(path: string): void {
    const directory = this.box.path(path)
    mkdirSync(directory, {recursive: true})
    const git = (...args: string[]) => execFileSync('git', args, {env: this.box.env, stdio: 'pipe'})
    git('init', '-q', '--bare', '-b', 'main', directory)
    git('--git-dir', directory, 'config', 'http.receivepack', 'true')
    this.box.init(`seed-${path.replace('/', '-')}`)
    this.box.commit(`seed-${path.replace('/', '-')}`, 'main', 'README.md', `${path}\n`)
    this.box.git(`seed-${path.replace('/', '-')}`, 'push', '-q', directory, 'main')
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<unknown> {
    const host = (request.headers.host ?? '').replace(/:\d+$/, '')
    const {method = '', url = '', headers} = request
    if (host === 'github.com') {
      this.seen.push({host, method, url, body: '', headers})
      return this.#git(request, response)
    }
    const chunks: Buffer[] = []
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk)
    const body = Buffer.concat(chunks).toString()
    this.seen.push({host, method, url, body, headers})
    const json = (status: number, value: unknown, more: Record<string, string> = {}): true => {
      const echo = this.echoes ? {you_are: headers.authorization} : {}
      const text = JSON.stringify(
        typeof value === 'object' && !Array.isArray(value) ? {...value, ...echo} : value,
      )
      response
        .writeHead(status, {
          'content-type': 'application/json; charset=utf-8',
          'set-cookie': 'a=b',
          'x-oauth-scopes': 'repo',
          ...more,
        })
        .end(status === 204 ? undefined : text)
      return true
    }
    if (host === fileHost) {
      // Signed addresses and credentials together are an error there.
      if (headers.authorization !== undefined) return json(400, {message: 'no Authorization here'})
      response.writeHead(200, {'content-type': 'application/zip'}).end(logArchive(this.box))
      return
    }
    if (this.status !== undefined) return json(this.status, {message: 'GitHub has a problem'})
    const shown = (headers.authorization ?? '').replace(/^(?:Bearer|token) /i, '')
    if (url.startsWith('/app/')) return this.#asApp(url, shown, body, json)
    const token = this.tokens.get(shown)
    if (!token || token.revoked)
      return json(401, {message: 'Bad credentials', documentation_url: 'https://docs.github.com/rest'})
    if (method === 'DELETE' && url === '/installation/token') {
      token.revoked = true
      return json(204, null)
    }
    const repositories = this.world.repositories.filter(
      ({owner, name}) =>
        owner === (token.account ?? this.world.viewer) &&
        (token.account === undefined ||
          token.repositories.includes('*') ||
          token.repositories.includes(name)),
    )
    if (url.startsWith('/installation/repositories?') && token.account !== undefined)
      return json(200, {total_count: repositories.length, repositories: repositories.map(listed)})
    if (url.startsWith('/user/repos?') && token.account === undefined)
      return json(200, repositories.map(listed))
    if (url === '/user' && token.account === undefined) return json(200, {login: this.world.viewer})
    if (url === '/graphql') {
      const answer = await executeGraphql(this.world, JSON.parse(body) as {query: string})
      return json(200, JSON.parse(JSON.stringify(answer)))
    }
    answerRest(
      this.world,
      {method, url, body, accept: headers.accept ?? ''},
      json,
      (status, more, text) => {
        response.writeHead(status, more).end(text)
        return true
      },
      this.fileHost,
    )
  }

  #asApp(url: string, jwt: string, body: string, json: (status: number, value: unknown) => true): true {
    const [head = '', claims = '', signature = ''] = jwt.split('.')
    const valid = createVerify('RSA-SHA256')
      .update(`${head}.${claims}`)
      .verify(this.#publicKey, Buffer.from(signature, 'base64url'))
    const {iss, iat, exp} = (valid ? JSON.parse(Buffer.from(claims, 'base64url').toString()) : {}) as Record<
      string,
      unknown
    >
    const now = Date.now() / 1000
    if (iss !== String(this.app) || Number(iat) > now || Number(exp) < now || Number(exp) > now + 600)
      return json(401, {message: 'A JSON web token could not be decoded'})
    if (url.startsWith('/app/installations?'))
      return json(
        200,
        [...this.installations].map(([id, login]) => ({id, account: {login}, suspended_at: null})),
      )
    const [, id, action] = /^\/app\/installations\/(\d+)(\/access_tokens)?$/.exec(url) ?? []
    const account = this.installations.get(Number(id))
    if (account === undefined) return json(404, {message: 'Not Found'})
    if (action === undefined) return json(200, {id: Number(id), permissions: this.permissions})
    const {repositories = ['*'], permissions = {}} = JSON.parse(body) as Partial<IssuedToken>
    const levels = ['read', 'write']
    const tooMuch = Object.entries(permissions).some(
      ([name, level]) => levels.indexOf(level) > levels.indexOf(this.permissions[name] ?? ''),
    )
    if (tooMuch)
      return json(422, {message: 'The permissions requested are not granted to this installation.'})
    const token = `ghs_SENTINEL${randomBytes(20).toString('hex')}`
    this.tokens.set(token, {account, repositories, permissions, revoked: false})
    return json(201, {token, expires_at: new Date(Date.now() + 3_600_000).toISOString(), permissions})
  }

  async #git(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const [, value = ''] = (request.headers.authorization ?? '').split(' ')
    const token = this.tokens.get(Buffer.from(value, 'base64').toString().split(':')[1] ?? '')
    if (!token || token.revoked) {
      request.resume()
      response.writeHead(401, {'www-authenticate': 'Basic realm="GitHub"'}).end()
      return
    }
    const url = new URL(request.url ?? '/', 'https://github.com')
    const writes = `${url.pathname}${url.search}`.includes('git-receive-pack')
    const [, owner, name] = /^\/([^/]+)\/([^/]+?)(?:\.git)?\//.exec(url.pathname) ?? []
    const isIts =
      token.account === undefined || (token.account === owner && token.repositories.includes(name ?? ''))
    if (writes && (token.permissions['contents'] !== 'write' || !isIts)) {
      request.resume()
      response.writeHead(403).end('Write access to repository not granted.')
      return
    }
    const path = url.pathname.replace(/^\/([^/]+)\/([^/]+?)(?:\.git)?\/(.*)$/, '/$1/$2.git/$3')
    const header = (name: string) => String(request.headers[name] ?? '')
    const child = spawn('git', ['http-backend'], {
      env: {
        ...this.box.env,
        CONTENT_TYPE: header('content-type'),
        GIT_HTTP_EXPORT_ALL: '1',
        GIT_PROJECT_ROOT: this.box.folder,
        GIT_PROTOCOL: header('git-protocol'),
        HTTP_CONTENT_ENCODING: header('content-encoding'),
        PATH_INFO: path,
        QUERY_STRING: url.search.slice(1),
        REMOTE_USER: 'app',
        REQUEST_METHOD: request.method ?? '',
        ...(header('content-length') === '' ? {} : {CONTENT_LENGTH: header('content-length')}),
      },
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    child.stdin.on('error', () => undefined)
    request.pipe(child.stdin)
    let head = Buffer.alloc(0)
    let open = false
    for await (const chunk of child.stdout as AsyncIterable<Buffer>) {
      if (open) {
        response.write(chunk)
        continue
      }
      head = Buffer.concat([head, chunk])
      const end = head.indexOf('\r\n\r\n')
      if (end < 0) continue
      open = true
      const lines = head.toString('latin1', 0, end).split('\r\n')
      const status = Number(/^Status: (\d+)/m.exec(lines.join('\n'))?.[1] ?? 200)
      const headers = lines
        .filter((line) => !line.startsWith('Status:'))
        .map((line) => line.split(': ') as [string, string])
      response.writeHead(status, Object.fromEntries(headers))
      response.write(head.subarray(end + 4))
    }
    response.end()
  }
}

/** One job's log, in the shape that gh reads. */
function logArchive(box: GitSandbox): Buffer {
  const script = `
import io, sys, zipfile
out = io.BytesIO()
with zipfile.ZipFile(out, 'w') as z:
    z.writestr('0_build.txt', '2026-01-01T00:00:00Z it was built\\n')
    z.writestr('build/1_Run make.txt', '2026-01-01T00:00:00Z it was built\\n')
sys.stdout.buffer.write(out.getvalue())`
  return execFileSync('python3', ['-c', script], {env: box.env})
}
