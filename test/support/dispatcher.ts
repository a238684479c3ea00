import {execFile, execFileSync, spawnSync} from 'node:child_process'
import {readdirSync, readFileSync, writeFileSync} from 'node:fs'
import {request as send, type RequestOptions} from 'node:https'
import {createServer} from 'node:net'
import {gitHost, handleHeader, uid} from '../../core/layout.js'
import type {GitGrant, SignedPart} from '../../policy/grant.js'
import {newHandle, signGrant} from '../../policy/sign.js'
import {fileHost, type FakeGithub} from './fake-github.js'
import type {Forge} from './git-upstream.js'
import {DispatcherProcesses, forgeHost, type Finished} from './dispatcher-processes.js'
import {egressGrant, gitGrant} from './grants.js'

export interface TestTask {
  name: string
  handle: string
  part: SignedPart
  grant: GitGrant
}

export interface Answer {
  status: number
  headers: Record<string, string | string[] | undefined>
  body: Buffer
}

/**
 * The dispatcher as it runs in its pod: the bundle, two processes, two users when this is root, TLS and a Unix socket.
 * `box` holds the clients' repositories, `home` is the person's.
 */
export class TestDispatcher extends DispatcherProcesses {
  /** whose repositories `gitAs` reaches beside the hosted ones */
  upstream: Forge | undefined

  /** @param options.volume an existing folder @param options.pod a network namespace and its address */
  static async start(
    options: {volume?: string; pod?: {name: string; address: string}} = {},
  ): Promise<TestDispatcher> {
    const dispatcher = new TestDispatcher(options.volume)
    if (options.pod) Object.assign(dispatcher, {pod: options.pod.name, address: options.pod.address})
    dispatcher.port = await freePort()
    dispatcher.healthPort = await freePort()
    dispatcher.startGit()
    dispatcher.startGate()
    await dispatcher.ready()
    return dispatcher
  }

  /** `shop.git` with `main` seeded from `home` by the person's own git */
  static async startSeeded(options: {volume?: string} = {}): Promise<TestDispatcher> {
    const dispatcher = await TestDispatcher.start(options)
    dispatcher.control({op: 'repository.init', repository: 'shop.git', defaultBranch: 'main'})
    dispatcher.box.init('home')
    dispatcher.box.commit('home', 'main', 'README.md', 'shop\n')
    dispatcher.box.commit('home', 'main', 'src/app.js', 'export const app = 1\n')
    const {code, stderr} = dispatcher.asOperator('home', 'push', 'cage::shop', 'main')
    if (code !== 0) throw new Error(`seeding failed: ${stderr}`)
    return dispatcher
  }

  /** The dispatcher in front of somebody else's server, its credential told as the CLI does. */
  static async startBefore(
    upstream: Forge,
    options: Parameters<typeof TestDispatcher.start>[0] = {},
  ): Promise<TestDispatcher> {
    const dispatcher = await TestDispatcher.start(options)
    dispatcher.upstream = upstream
    dispatcher.tellUpstreams()
    return dispatcher
  }

  tellUpstreams(over: Record<string, unknown> = {}, ...urls: string[]): void {
    const {upstream} = this
    if (!upstream) throw new Error('there is no upstream')
    const way = {
      address: upstream.address,
      port: upstream.port,
      ca: upstream.ca,
      credential: upstream.token,
      ...over,
    }
    const upstreams = [upstream.url(), ...urls].map((url) => ({url, ...way}))
    const {code, stdout} = this.control({op: 'upstream.put', upstreams, resolver: [], allowAddresses: []})
    if (code !== 0) throw new Error(`upstream.put: ${stdout}`)
  }

  /** The way to GitHub and who the dispatcher is there, told as the CLI does; the default is the app. */
  tellGithub(github: FakeGithub, who: object = {}, urls = ['https://github.com/org/app']): Finished {
    return this.control(this.#github(github, who, urls))
  }

  /** The same for tasks that push to a fork. @returns what the dispatcher says of it */
  async tellFork(github: FakeGithub, who: object = {}): Promise<Finished> {
    const told = this.#github(github, who, ['https://github.com/org/app'])
    const upstreams = told.upstreams.map((upstream) => ({...upstream, readOnly: true}))
    const settings = {...told.github, forkOf: 'https://github.com/org/app'}
    const {code, stdout} = this.control({...told, upstreams, github: settings})
    if (code !== 0) throw new Error(`upstream.put: ${stdout}`)
    return this.controlAsync({op: 'fork'})
  }

  #github(github: FakeGithub, who: object, urls: string[]) {
    const way = {address: '127.0.0.1', port: github.port, ca: github.ca}
    const app = {app: github.app, installation: github.installation, key: github.key}
    return {
      op: 'upstream.put',
      upstreams: urls.map((url) => ({url, ...way})),
      resolver: [],
      allowAddresses: [],
      github: {
        who: Object.keys(who).length > 0 ? who : app,
        hosts: ['api.github.com', fileHost].map((host) => ({host, ...way})),
      },
    }
  }

  /** A task of a project at GitHub. */
  githubTask(name: string, over: Partial<GitGrant> = {}): TestTask {
    const upstream = {kind: 'github', url: 'https://github.com/org/app'} as const
    const github: GitGrant['github'] = {
      writes: [
        'pr.create',
        'pr.update',
        'pr.comment',
        'pr.review',
        'pr.close',
        'issue.comment',
        'actions.rerun',
      ],
      writesPerHour: 120,
      readsPerHour: 3000,
    }
    return this.task(name, {upstream, repository: 'org/app.git', github, ...over})
  }

  /** A task whose branches go to the upstream. */
  upstreamTask(name: string, over: Partial<GitGrant> = {}, push: Partial<GitGrant['push']> = {}): TestTask {
    const url = this.upstream?.url() ?? ''
    return this.task(name, {upstream: {kind: 'git', url}, repository: 'org/app.git', ...over}, push)
  }

  /** A signed document in place, and the handle that stands for it. */
  task(name: string, over: Partial<GitGrant> = {}, push: Partial<GitGrant['push']> = {}): TestTask {
    const task = this.signed(name, over, push)
    const {code, stdout} = this.control({op: 'document.put', part: task.part})
    if (code !== 0) throw new Error(`document.put: ${stdout}`)
    return task
  }

  /** The same, not yet known to the dispatcher. */
  signed(
    name: string,
    over: Partial<GitGrant> = {},
    push: Partial<GitGrant['push']> = {},
    handle: string = newHandle(),
    privateKeyPem: string = this.key.privateKeyPem,
  ): TestTask {
    const branch = over.branch ?? name
    const base = gitGrant({task: name, branch, ...over})
    const grant = {...base, push: {...base.push, refs: [`refs/heads/${branch}`], ...push}}
    const {project, revision} = grant
    const egress = egressGrant({task: name, revision, project})
    const parts = signGrant({project, task: name, revision, handle, egress, git: grant}, privateKeyPem)
    return {name, handle, part: parts.git, grant}
  }

  /** Every record of the journal, oldest first. */
  journal(query: {task?: string; since?: string} = {}): Record<string, unknown>[] {
    const {stdout} = this.control({op: 'audit', ...query})
    return stdout
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line) as Record<string, unknown>)
  }

  /** git as an agent runs it, with the header that its sidecar adds. */
  gitAs(task: {handle: string; env?: Record<string, string>}, where: string, ...args: string[]): Finished {
    const {env: own, argv} = this.#client(task.handle, where, args)
    const env = {...own, ...task.env}
    const {status, stdout, stderr} = spawnSync('git', argv, {env, input: '', maxBuffer: 1 << 28})
    return {code: status ?? -1, stdout: stdout.toString(), stderr: stderr.toString()}
  }

  gitAsAsync(task: {handle: string}, where: string, ...args: string[]): Promise<Finished> {
    const {env, argv} = this.#client(task.handle, where, args)
    return new Promise((resolve) => {
      execFile('git', argv, {env}, (error, stdout, stderr) => {
        resolve({code: error ? (typeof error.code === 'number' ? error.code : -1) : 0, stdout, stderr})
      })
    })
  }

  /** A script in a task's clone, told as the attacker of `cage verify` tells it. */
  shellAs(task: {handle: string}, where: string, script: string): string {
    const {env} = this.#client(task.handle, where, [])
    const {status, stdout, stderr} = spawnSync('sh', ['-c', script], {
      env: {...env, HOME: this.box.folder, CAGE_PROJECT: where},
    })
    return `${status ?? -1} ${Buffer.concat([stdout, stderr]).toString().slice(0, 300).trim()}`
  }

  /** The person's git through `serve`, as exec runs it: remote `cage::REPOSITORY`. */
  asOperator(where: string, ...args: string[]): Finished {
    const helper = this.folder('helpers', 0)
    const owner = this.separate ? `setpriv --reuid=${uid.git} --regid=${uid.git} --clear-groups` : ''
    const script = `#!/bin/sh
exec ${owner} "${process.execPath}" "${this.bundle}" serve "\${1#git-}" "$2" \${GIT_PROTOCOL:+--protocol "$GIT_PROTOCOL"} --volume "${this.volume}"
`
    writeFileSync(`${helper}/serve`, script, {mode: 0o755})
    const argv = [
      '-C',
      this.box.path(where),
      '-c',
      'protocol.ext.allow=always',
      ...args.map((arg) => this.#operatorUrl(arg, helper)),
    ]
    const {status, stdout, stderr} = spawnSync('git', argv, {
      env: this.box.env,
      input: '',
      maxBuffer: 1 << 28,
    })
    return {code: status ?? -1, stdout: stdout.toString(), stderr: stderr.toString()}
  }

  url(repository = 'shop.git'): string {
    return `https://${gitHost}:${this.port}/${repository}`
  }

  /** the upstream's repository as a task's client names it */
  forgeUrl(repository = 'org/app.git'): string {
    return `https://${forgeHost}:${this.port}/${repository}`
  }

  githubUrl(repository = 'org/app.git'): string {
    return `https://github.com:${this.port}/${repository}`
  }

  /** A clone of the task's own, with `origin` set. */
  clone(task: {handle: string}, name: string, ...args: string[]): string {
    const url = this.upstream ? this.forgeUrl() : this.url()
    const {code, stderr} = this.gitAs(task, '.', 'clone', '-q', ...args, url, name)
    if (code !== 0) throw new Error(stderr)
    return this.box.path(name)
  }

  /** The hosted repository itself, read from outside: what really happened. */
  hosted(...args: string[]): string {
    return execFileSync('git', ['--git-dir', `${this.volume}/repositories/shop.git`, ...args], {
      env: {
        ...this.box.env,
        GIT_CONFIG_COUNT: '1',
        GIT_CONFIG_KEY_0: 'safe.directory',
        GIT_CONFIG_VALUE_0: '*',
      },
      stdio: ['pipe', 'pipe', 'pipe'],
    })
      .toString()
      .trim()
  }

  refs(): Record<string, string> {
    const lines = this.hosted('for-each-ref', '--format=%(refname) %(objectname)').split('\n').filter(Boolean)
    return Object.fromEntries(lines.map((line) => line.split(' ') as [string, string]))
  }

  has(object: string): boolean {
    try {
      this.hosted('cat-file', '-e', object)
      return true
    } catch {
      return false
    }
  }

  /** What lies in quarantine: nothing, once every push is answered. */
  quarantined(): string[] {
    return readdirSync(`${this.volume}/quarantine`)
  }

  request(options: RequestOptions & {handle?: string; body?: Buffer | string}): Promise<Answer> {
    const {handle, body, headers, ...rest} = options
    return new Promise((resolve, reject) => {
      const request = send(
        {
          host: this.address,
          port: this.port,
          servername: gitHost,
          ca: readFileSync(`${this.tls}/ca.crt`),
          agent: false,
          headers: Object.assign(
            {host: gitHost},
            handle === undefined ? {} : {[handleHeader]: handle},
            headers,
          ),
          ...rest,
        },
        (response) => {
          const chunks: Buffer[] = []
          response.on('data', (chunk: Buffer) => chunks.push(chunk))
          response.on('error', reject)
          response.on('end', () =>
            resolve({
              status: response.statusCode ?? 0,
              headers: response.headers,
              body: Buffer.concat(chunks),
            }),
          )
        },
      )
      request.on('error', reject)
      request.end(body)
    })
  }

  #client(handle: string, where: string, args: string[]): {env: Record<string, string>; argv: string[]} {
    const forge = `http.https://${forgeHost}:${this.port}/.extraHeader`
    const config: [string, string][] = [
      ['http.extraHeader', `x-cage-handle: ${handle}`],
      // As through the sidecar: the upstream's own name, which leads to the dispatcher.
      [forge, `Host: ${forgeHost}`],
      ['http.sslCAInfo', `${this.tls}/ca.crt`],
      ['http.curloptResolve', `${gitHost}:${this.port}:${this.address}`],
      ['http.curloptResolve', `${forgeHost}:${this.port}:${this.address}`],
      ['http.curloptResolve', `github.com:${this.port}:${this.address}`],
    ]
    const env: Record<string, string> = {
      ...this.box.env,
      GIT_TERMINAL_PROMPT: '0',
      GIT_CONFIG_COUNT: String(config.length),
    }
    config.forEach(([name, value], index) => {
      env[`GIT_CONFIG_KEY_${index}`] = name
      env[`GIT_CONFIG_VALUE_${index}`] = value
    })
    return {env, argv: ['-C', this.box.path(where), ...args]}
  }

  #operatorUrl(arg: string, helper: string): string {
    return arg.startsWith('cage::') ? `ext::${helper}/serve %S ${arg.slice('cage::'.length)}` : arg
  }
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => resolve(typeof address === 'object' && address ? address.port : 0))
    })
  })
}
