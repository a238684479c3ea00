/** Two network namespaces: a pod with the real fence and sidecar, and around it a world that reports what reaches it. */
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import {randomBytes} from 'node:crypto'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {createInterface} from 'node:readline'
import {fileURLToPath} from 'node:url'
import {createAuthority, parseAuthority} from '../../../core/certificates/authority.js'
import {processRunner, runOk} from '../../../core/process.js'
import type {CommandResult, RunningCommand} from '../../../core/runner.js'
import type {EgressGrant} from '../../../policy/grant.js'
import {generateGrantKey, newHandle, signGrant, type GrantKey} from '../../../policy/sign.js'
import type {AuditRecord} from '../../../proxy/audit/record.js'
import {egressGrant, gitGrant} from '../../support/grants.js'
import {world} from './addresses.js'
import type {RawAnswer, RawRequest} from './raw.js'

const root = fileURLToPath(new URL('../../..', import.meta.url))
/** Programs that another uid can start too. */
export const systemPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
const SIDECAR = 64000
const AGENT = 1000

/** Why these tests cannot run here, or undefined. */
export async function missing(): Promise<string | undefined> {
  if (process.getuid?.() !== 0) return 'needs root for network namespaces'
  for (const tool of ['ip', 'nft', 'setpriv', 'curl', 'python3']) {
    const found = await processRunner.run({argv: ['sh', '-c', `command -v ${tool}`], env: {PATH: systemPath}})
    if (found.code !== 0) return `needs ${tool}`
  }
  const trial = `cage-trial-${process.pid}`
  const made = await processRunner.run({argv: ['ip', 'netns', 'add', trial]})
  await processRunner.run({argv: ['ip', 'netns', 'del', trial]})
  return made.code === 0 ? undefined : `network namespaces are not allowed: ${made.stderr.trim()}`
}

export interface WorldEvent {
  place: string
  [key: string]: unknown
}

export interface CurlAnswer {
  /** curl's exit code */
  code: number
  status: number
  body: string
  /** of a denial */
  reason: string | undefined
  stderr: string
}

export type GrantChange = Partial<EgressGrant>

const run = (...argv: [string, ...string[]]) => runOk(processRunner, {argv, timeoutMs: 20_000})

/** A start that takes too long says what it was. */
function begun(
  what: string,
  start: (resolve: () => void, reject: (error: Error) => void) => void,
): Promise<void> {
  return new Promise<void>((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`${what} did not start in 30 s`)), 30_000)
    start(() => {
      clearTimeout(late)
      resolve()
    }, reject)
  })
}

export class TestNetwork {
  readonly directory = mkdtempSync(join(tmpdir(), 'cage-proxy-'))
  readonly podName = `cage-pod-${process.pid}-${randomBytes(2).toString('hex')}`
  readonly worldName = `cage-world-${process.pid}-${randomBytes(2).toString('hex')}`
  readonly events: WorldEvent[] = []
  readonly handle = newHandle()
  readonly grantKey: GrantKey = generateGrantKey()
  readonly publicCa = createAuthority('test public roots', Date.now())
  readonly projectCa = createAuthority('test project', Date.now())
  readonly privateCa = createAuthority('test company', Date.now())
  sidecar: RunningCommand | undefined
  sidecarPid = 0
  sidecarErrors = ''
  #world: RunningCommand | undefined
  #revision = 0

  /** Namespaces, the world and the bundle; no fence and no sidecar yet. */
  static async create(): Promise<TestNetwork> {
    const network = new TestNetwork()
    try {
      await network.#bundle()
      await network.#namespaces()
      await network.#startWorld()
    } catch (error) {
      await network.destroy()
      throw error
    }
    return network
  }

  path(...parts: string[]): string {
    return join(this.directory, ...parts)
  }

  get caFile(): string {
    return this.path('trust/ca.pem')
  }

  async #bundle(): Promise<void> {
    const banner =
      "import {createRequire as makeRequire} from 'node:module';const require = makeRequire(import.meta.url)"
    const entries = ['agent', 'grpc-agent', 'program', 'world'].map((name) =>
      join(root, `test/integration/proxy/${name}.ts`),
    )
    const kind = ['--bundle', '--format=esm', '--platform=node', '--target=node20', '--log-level=error']
    const out = [`--outdir=${this.directory}`, '--out-extension:.js=.mjs', `--banner:js=${banner}`]
    await run(join(root, 'node_modules/.bin/esbuild'), ...entries, ...kind, ...out)
    writeFileSync(this.path('public-ca.pem'), this.publicCa)
    writeFileSync(this.path('project-ca.pem'), this.projectCa)
    writeFileSync(this.path('private-ca.pem'), this.privateCa)
    writeFileSync(this.path('roots.pem'), parseAuthority(this.publicCa).certificate)
    writeFileSync(this.path('grant-key'), this.grantKey.publicKeyDer)
    chmodSync(this.directory, 0o755)
    for (const name of ['grant', 'state', 'ledger', 'trust']) {
      mkdirSync(this.path(name), {mode: name === 'trust' ? 0o755 : 0o700})
      chownSync(this.path(name), SIDECAR, SIDECAR)
    }
    mkdirSync(this.path('agent'))
    chownSync(this.path('agent'), AGENT, AGENT)
  }

  async #namespaces(): Promise<void> {
    await run('ip', 'netns', 'add', this.podName)
    await run('ip', 'netns', 'add', this.worldName)
    const script = `
      set -e
      ip link add pod0 netns ${this.podName} type veth peer name world0 netns ${this.worldName}
      pod() { ip -n ${this.podName} "$@"; }
      out() { ip -n ${this.worldName} "$@"; }
      out link set lo up; out link set world0 up; pod link set lo up; pod link set pod0 up
      out addr add ${world.gateway}/24 dev world0; pod addr add ${world.pod}/24 dev pod0
      out addr add ${world.gateway6}/64 dev world0 nodad; pod addr add ${world.pod6}/64 dev pod0 nodad
      for a in ${world.publicHost} ${world.http2Host} ${world.grpcHost} ${world.faulty} ${world.canary} ${world.foreignResolver} \
        ${world.metadata} ${world.resolver} ${world.dispatcher} ${world.privateHost} ${world.special} \
        ${world.specialNeighbour} ${world.companyProxy}; do out addr add $a/32 dev lo; done
      out addr add ${world.public6}/128 dev lo nodad
      pod route add default via ${world.gateway}; pod -6 route add default via ${world.gateway6}
      ip netns exec ${this.podName} sysctl -qw net.ipv4.ping_group_range="0 2147483647" net.ipv4.ip_unprivileged_port_start=0
      ip netns exec ${this.worldName} nft -f - <<'RULES'
        table inet wire {
          counter ip_packets {}
          counter going_on {}
          chain seen { type filter hook prerouting priority raw; policy accept
            iifname != "world0" accept
            icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit } accept
            tcp flags & (syn | ack) == ack counter name going_on
            tcp flags & (rst | ack) == rst counter name going_on
            counter name ip_packets
          }
        }
        table netdev wire {
          counter other_frames {}
          chain seen { type filter hook ingress device "world0" priority 0; policy accept
            meta protocol != { ip, ip6, arp } counter name other_frames
          }
        }
RULES`
    await run('sh', '-c', script)
  }

  async #startWorld(): Promise<void> {
    const argv = [
      'ip',
      'netns',
      'exec',
      this.worldName,
      process.execPath,
      this.path('world.mjs'),
      this.directory,
    ] as const
    this.#world = processRunner.start({argv: [...argv]})
    let errors = ''
    this.#world.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString()))
    const lines = createInterface({input: this.#world.stdout})
    await begun('the world', (resolve, reject) => {
      void this.#world?.exit.then(() => reject(new Error(`the world ended: ${errors}`)))
      lines.on('line', (line) => {
        if (line === '"ready"') resolve()
        else this.events.push(JSON.parse(line) as WorldEvent)
      })
    })
  }

  /** Closes the pod with the real script. */
  fence(
    allow = `${world.resolver}/udp/53 ${world.resolver}/tcp/53 ${world.dispatcher}/tcp/443`,
  ): Promise<CommandResult> {
    return processRunner.run({
      argv: ['ip', 'netns', 'exec', this.podName, join(root, 'images/proxy/fence.sh')],
      env: {PATH: process.env['PATH'] ?? '', CAGE_FENCE_ALLOW: allow},
      timeoutMs: 10_000,
    })
  }

  grant(change: GrantChange = {}): EgressGrant {
    return egressGrant({
      dispatcher: {
        address: world.dispatcher,
        port: 443,
        ca: parseAuthority(this.projectCa).certificate,
        hosts: ['git.cage.internal', 'github.com'],
      },
      resolver: [world.resolver],
      ...change,
    })
  }

  sign(grant: EgressGrant, key = this.grantKey) {
    const {task, project, revision} = grant
    return signGrant(
      {project, task, revision, handle: this.handle, egress: grant, git: gitGrant({revision})},
      key.privateKeyPem,
    ).egress
  }

  /** What the CLI puts into the Secret. */
  writeGrant(change: GrantChange = {}, credentials: Record<string, string> = {}): void {
    this.#revision = change.revision ?? this.#revision + 1
    const grant = this.grant({revision: this.#revision, ...change})
    const files = {
      'egress.json': JSON.stringify(this.sign(grant)),
      'credentials.json': JSON.stringify(credentials),
      handle: this.handle,
    }
    for (const [name, text] of Object.entries(files)) {
      writeFileSync(this.path('grant', name), text, {mode: 0o600})
      chownSync(this.path('grant', name), SIDECAR, SIDECAR)
    }
  }

  /** What the CLI does by exec. */
  async control(
    request: unknown,
  ): Promise<{ok: boolean; result?: Record<string, unknown>; error?: {code: string}}> {
    const argv = this.#as(SIDECAR, [process.execPath, this.path('program.mjs'), 'control', this.directory])
    const {stdout, stderr} = await processRunner.run({
      argv,
      input: JSON.stringify(request),
      timeoutMs: 20_000,
    })
    if (stdout.length === 0) throw new Error(stderr)
    return JSON.parse(stdout.toString()) as {ok: boolean}
  }

  async put(change: GrantChange = {}, credentials: Record<string, string> = {}): Promise<void> {
    this.#revision = change.revision ?? this.#revision + 1
    const part = this.sign(this.grant({revision: this.#revision, ...change}))
    const answer = await this.control({op: 'grant.put', part, credentials})
    if (!answer.ok) throw new Error(JSON.stringify(answer))
  }

  /** @param before a program that starts the sidecar, such as prlimit */
  async startSidecar(before: readonly string[] = []): Promise<void> {
    const running = processRunner.start({
      argv: this.#as(SIDECAR, [
        ...before,
        process.execPath,
        this.path('program.mjs'),
        'serve',
        this.directory,
      ]),
    })
    this.sidecar = running
    running.stderr.on('data', (chunk: Buffer) => (this.sidecarErrors += chunk.toString()))
    await begun('the sidecar', (resolve, reject) => {
      running.stdout.on('data', (chunk: Buffer) => {
        this.sidecarPid = Number(chunk.toString())
        resolve()
      })
      void running.exit.then((code) =>
        reject(new Error(`the sidecar ended with ${code}: ${this.sidecarErrors}`)),
      )
    })
  }

  async killSidecar(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    this.sidecar?.kill(signal)
    await this.sidecar?.exit
    this.sidecar = undefined
  }

  /** Runs in the pod as the agent: its uid, no capabilities, no new privileges. */
  agent(
    argv: readonly string[],
    options: {env?: Record<string, string>; input?: string | Buffer; timeoutMs?: number} = {},
  ): Promise<CommandResult> {
    return processRunner.run({
      argv: this.#as(AGENT, argv),
      env: {PATH: systemPath, HOME: this.path('agent'), CAGE_CA: this.caFile, ...options.env},
      ...(options.input === undefined ? {} : {input: options.input}),
      timeoutMs: options.timeoutMs ?? 30_000,
    })
  }

  /** Bytes of the agent's choosing. */
  async raw(request: RawRequest): Promise<RawAnswer> {
    const {stdout, stderr} = await this.agent([process.execPath, this.path('agent.mjs')], {
      input: JSON.stringify(request),
    })
    if (stdout.length === 0) throw new Error(stderr)
    return JSON.parse(stdout.toString()) as RawAnswer
  }

  /** curl without proxy variables: the transparent way. */
  async curl(...argv: string[]): Promise<CurlAnswer> {
    const format = '\n%{http_code}'
    const result = await this.agent([
      'curl',
      '-sS',
      '-m',
      '10',
      '--cacert',
      this.caFile,
      '-w',
      format,
      ...argv,
    ])
    const text = result.stdout.toString()
    const split = text.lastIndexOf('\n')
    const body = text.slice(0, split)
    return {
      code: result.code,
      status: Number(text.slice(split + 1)),
      body,
      reason: /"reason":"(\w+)"/.exec(body)?.[1],
      stderr: result.stderr,
    }
  }

  /** The pin of whoever answers there, as the operator would read it off the server. */
  async pinOf(address: string, port: number, name: string): Promise<string> {
    const script = `
      const socket = require('tls').connect({host: '${address}', port: ${port}, servername: '${name}', rejectUnauthorized: false}, () => {
        const key = socket.getPeerX509Certificate().publicKey.export({type: 'spki', format: 'der'})
        console.log('sha256/' + require('crypto').createHash('sha256').update(key).digest('base64'))
        socket.destroy()
      })`
    return (await run('ip', 'netns', 'exec', this.worldName, process.execPath, '-e', script))
      .toString()
      .trim()
  }

  /** What the world saw since the last call. */
  seen(): WorldEvent[] {
    return this.events.splice(0)
  }

  startAgent(argv: readonly string[], env: Record<string, string> = {}): RunningCommand {
    return processRunner.start({
      argv: this.#as(AGENT, argv),
      env: {PATH: systemPath, HOME: this.path('agent'), CAGE_CA: this.caFile, ...env},
    })
  }

  #as(uid: number, argv: readonly string[]): [string, ...string[]] {
    const drop = [
      '--reuid',
      String(uid),
      '--regid',
      String(uid),
      '--clear-groups',
      '--no-new-privs',
      '--bounding-set',
      '-all',
      '--inh-caps',
      '-all',
    ]
    return ['ip', 'netns', 'exec', this.podName, 'setpriv', ...drop, ...argv]
  }

  /** IP packets and other frames that came out of the pod so far. */
  async packets(): Promise<number> {
    return (await this.#counted()).all
  }

  /** The same without what belongs to a TCP connection that stands or stood: the sidecar ends its idle ones whenever it likes. */
  async freshPackets(): Promise<number> {
    const {all, goingOn} = await this.#counted()
    return all - goingOn
  }

  /** In one reading: a packet between two would be in one number and not in the other. */
  async #counted(): Promise<{all: number; goingOn: number}> {
    const text = (await run('ip', 'netns', 'exec', this.worldName, 'nft', 'list', 'counters')).toString()
    const count = (name: string) =>
      Number(new RegExp(`counter ${name} \\{\\s*packets (\\d+)`).exec(text)?.[1])
    return {all: count('ip_packets') + count('other_frames'), goingOn: count('going_on')}
  }

  /** Audit records so far; waits until the writer is idle. */
  async audit(): Promise<AuditRecord[]> {
    await new Promise((resolve) => setTimeout(resolve, 150))
    const path = this.path('ledger/audit.jsonl')
    if (!existsSync(path)) return []
    return readFileSync(path, 'utf8')
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line) as AuditRecord)
  }

  async destroy(): Promise<void> {
    await this.killSidecar()
    this.#world?.kill('SIGKILL')
    await this.#world?.exit.catch(() => undefined)
    for (const name of [this.podName, this.worldName])
      await processRunner.run({argv: ['ip', 'netns', 'del', name]})
    rmSync(this.directory, {recursive: true, force: true})
  }
}
