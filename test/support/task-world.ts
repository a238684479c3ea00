import {createHash} from 'node:crypto'
import type {Clock} from '../../core/clock.js'
import {CageError} from '../../core/errors.js'
import type {KubeObject} from '../../core/kube-object.js'
import {clusterNames, label} from '../../core/layout.js'
import {silentReporter} from '../../core/report.js'
import type {EgressGrant, GitGrant, SignedPart} from '../../policy/grant.js'
import {generateGrantKey, newHandle, signGrant} from '../../policy/sign.js'
import type {GrantRequest, PreparedGrant, TaskBlueprint, TaskProject} from '../../tasks/blueprint.js'
import type {TaskContext} from '../../tasks/context.js'
import {DispatcherControl, type HeldPush} from '../../tasks/dispatcher.js'
import type {TaskPod} from '../../tasks/phase.js'
import {FakeCluster, type FakeExecCall} from './fake-cluster.js'
import {taskPodView} from './manifest-views.js'

const id = 'shop-1a2b3c4d'
const key = generateGrantKey()

/**
 * A project in memory: a cluster whose dispatcher answers, whose pods run as soon as they are made, and whose volumes
 * are remembered. Everything can be looked at; nothing waits.
 */
export class TaskWorld {
  readonly cluster = new FakeCluster()
  /** branches of the hosted repository */
  readonly branches = new Map([['main', 'a'.repeat(40)]])
  /** task → its document at the dispatcher */
  readonly documents = new Map<string, SignedPart>()
  readonly volumes = new Map<string, number>()
  /** what the agent's container answers to exec, by the program that is run */
  agent: (call: FakeExecCall) => number = (call) => {
    if (call.argv[0] === 'head') call.stdout('{"state":"working","exitCode":null}')
    return 0
  }
  sidecar: (call: FakeExecCall) => number = () => 0
  /** JSON lines on the ledger's volume of every task; undefined = no volume can be read */
  ledger: string | undefined = ''
  /** JSON lines of the dispatcher */
  journal = ''
  credentialError: CageError | undefined
  /** claims that were made before their volume */
  readonly lateClaims: string[] = []
  /** pods run at once; false leaves them as they were made */
  podsRun = true

  constructor() {
    this.cluster.put({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: {
        name: 'dispatcher-x',
        namespace: clusterNames.dispatcherNamespace(id),
        labels: {[label.component]: 'dispatcher'},
      },
      status: {conditions: [{type: 'Ready', status: 'True'}]},
    })
    this.cluster.execScript = (call) => this.exec(call)
    this.cluster.onWrite((object) => {
      if (object.kind === 'PersistentVolumeClaim') this.bind(object)
      if (object.kind === 'Pod' && this.podsRun && object['status'] === undefined) this.runPod(object)
    })
  }

  get id(): string {
    return id
  }

  readonly clock: Clock = {now: () => 0, sleep: () => Promise.resolve()}

  context(changes: Partial<TaskContext> = {}): TaskContext {
    return {
      cluster: this.cluster,
      id,
      reporter: silentReporter,
      clock: this.clock,
      volumes: {
        ensure: (name, bytes) => Promise.resolve(void this.volumes.set(name, bytes)),
        remove: (name) => Promise.resolve(void this.volumes.delete(name)),
      },
      ...changes,
    }
  }

  dispatcher(context: TaskContext = this.context()): DispatcherControl {
    return new DispatcherControl(context)
  }

  readonly project: TaskProject = {
    blueprint: () => Promise.resolve(this.blueprint),
    resolveCredentials: () =>
      this.credentialError ? Promise.reject(this.credentialError) : Promise.resolve(),
    prepareGrant: (request) => Promise.resolve(grantFor(request)),
  }

  /** what the dispatcher says is held, and what it was told about it */
  held: HeldPush[] = []
  readonly decided: unknown[] = []

  private readonly view = taskPodView()

  readonly blueprint: TaskBlueprint = {
    ...this.view,
    repository: 'shop.git',
    diskBytes: 1024 ** 3,
  }

  /** As the controller does: at once when the volume is there before the claim, else much later. */
  private bind(claim: KubeObject): void {
    if (this.volumes.has(claim.metadata.name)) this.cluster.put({...claim, status: {phase: 'Bound'}})
    else this.lateClaims.push(claim.metadata.name)
  }

  runPod(pod: TaskPod): void {
    const done = (name: string) => ({name, state: {terminated: {exitCode: 0}}})
    this.cluster.put({
      ...pod,
      status: {
        phase: 'Running',
        initContainerStatuses: [
          done('fence'),
          {name: 'sidecar', state: {running: {}}},
          done('probe'),
          done('clone'),
        ],
        containerStatuses: [{name: 'agent', state: {running: {}}}],
      },
    })
  }

  /** Names of everything that belongs to a task. */
  pieces(task: string): string[] {
    const names = [clusterNames.config(task), clusterNames.grant(task), clusterNames.pod(task)]
    const claims = [clusterNames.home(task), clusterNames.ledger(task)]
    const objects = ['ConfigMap', 'Secret', 'Pod', 'PersistentVolumeClaim']
      .flatMap((kind) => this.cluster.all(kind))
      .map(({kind, metadata}) => `${kind} ${metadata.name}`)
      .filter((text) => [...names, ...claims].some((name) => text.endsWith(` ${name}`)))
    return [
      ...objects,
      ...(this.documents.has(task) ? ['document'] : []),
      ...claims.filter((name) => this.volumes.has(name)).map((name) => `volume ${name}`),
    ].sort()
  }

  private exec(call: FakeExecCall): number {
    if (call.container === 'gate') return this.answer(call)
    return call.container === 'sidecar' ? this.sidecar(call) : this.agent(call)
  }

  private answer(call: FakeExecCall): number {
    const request = JSON.parse(call.stdin.toString()) as {op: string; part: SignedPart; task: string}
    const {op, part} = request
    if (op === 'refs') {
      const refs = Object.fromEntries([...this.branches].map(([name, oid]) => [`refs/heads/${name}`, oid]))
      call.stdout(`${JSON.stringify({repository: 'shop.git', head: 'refs/heads/main', refs})}\n`)
      return 0
    }
    if (op === 'document.put') {
      const held = this.documents.get(part.head.task)
      if (held && held.head.revision > part.head.revision) {
        call.stdout(JSON.stringify({error: {code: 'DOCUMENT_OLD', message: 'a lower revision', hints: []}}))
        return 1
      }
      this.documents.set(part.head.task, part)
    } else if (op === 'document.remove') this.documents.delete(request.task)
    else if (op === 'held.list') {
      call.stdout(`${JSON.stringify({held: this.held})}\n`)
      return 0
    } else if (op === 'held.decide') this.decided.push(request)
    else if (op === 'audit') {
      call.stdout(this.journal)
      return 0
    }
    call.stdout('{}\n')
    return 0
  }
}

function grantFor({task, branch, base, revision, placeholders}: GrantRequest): PreparedGrant {
  const common = {version: 1 as const, project: id, task, revision}
  const egress: EgressGrant = {
    ...common,
    dispatcher: {address: '10.248.0.77', port: 443, ca: 'PEM', hosts: ['git.cage.internal']},
    resolver: [],
    rules: [],
    credentials: [],
    hosts: [],
    routes: [],
    allowAddresses: [],
    detectors: {audit: []},
    budget: {},
  }
  const git: GitGrant = {
    ...common,
    principal: 'task',
    upstream: {kind: 'hosted', url: 'https://git.cage.internal/shop.git'},
    repository: 'shop.git',
    branch,
    base,
    read: [],
    push: {
      refs: [`refs/heads/${branch}`],
      force: false,
      delete: false,
      tags: [],
      deny: [],
      limits: {packBytes: 1, blobBytes: 1, objects: 1, commits: 1, refs: 1, seconds: 1},
    },
    secrets: {onFinding: 'deny'},
  }
  const handle = newHandle()
  const placeholder =
    placeholders['anthropic'] ??
    `placeholder-${createHash('sha256').update(handle).digest('hex').slice(0, 8)}`
  return {
    ...signGrant({...common, handle, egress, git}, key.privateKeyPem),
    handle,
    issued: [],
    credentials: {anthropic: 'the real value'},
    placeholders: {anthropic: placeholder},
    env: {MODEL_TOKEN: placeholder},
  }
}
