import {mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync} from 'node:fs'
import {join, resolve} from 'node:path'
import {afterAll, beforeAll, describe, expect, it} from '@jest/globals'
import {connect} from '../../kube/connect.js'
import type {Cluster} from '../../kube/cluster.js'
import {FakeRegistry} from '../support/fake-registry.js'
import {sharedFolder, TeamCluster} from '../support/team-cluster.js'
import {cage, eventually, run, scratch, type Outcome} from './harness.js'

const account = {user: 'team', password: 'secret-of-the-registry'}
const home = join(scratch, 'existing')
/** The first of the two networks of its nodes; projects of the tier take theirs from 10.200 up. */
const NETWORK = 194
const MOVABLE = 'team-disks'
const PINNED = 'node-disks'
const MOVABLE_DISKS = 40
const PINNED_DISKS = 6

interface Up {
  cluster: {kind: string; ready: boolean}
  machine: {driver: string}
  steps: {name: string; changed: boolean}[]
}
interface Task {
  branch: string
  pod: string
}
interface TaskPod {
  name: string
  node: string
}

/** A person with settings and state of their own, in a repository of theirs. */
class Person {
  readonly name: string
  readonly repository: string
  readonly project: string

  constructor(name: string, project: string, repository = join(home, name, project)) {
    this.name = name
    this.project = project
    this.repository = repository
  }

  get env(): NodeJS.ProcessEnv {
    return {
      ...process.env,
      XDG_STATE_HOME: join(home, this.name, 'state'),
      XDG_CONFIG_HOME: join(home, this.name, 'config'),
      NODE_EXTRA_CA_CERTS: join(home, 'registry.pem'),
      PATH: `${resolve('bin')}:${process.env['PATH'] ?? ''}`,
    }
  }

  async prepare(): Promise<void> {
    mkdirSync(this.repository, {recursive: true})
    const git = (...args: string[]) => run('git', ['-C', this.repository, ...args])
    await git('init', '-q', '-b', 'main')
    await git('config', 'user.name', 'A')
    await git('config', 'user.email', 'a@shop.invalid')
    await git('commit', '-q', '--allow-empty', '-m', 'Begin')
  }

  configure(cluster: Record<string, unknown>): void {
    const folder = join(home, this.name, 'config', 'cage')
    mkdirSync(folder, {recursive: true})
    const settings = {
      version: 1,
      defaults: {
        machine: {driver: 'none'},
        cluster: {kind: 'existing', ...cluster},
        task: {disk: '1GiB', memory: '512MiB'},
      },
      // This cluster has no resolver of its own; its nodes have.
      network: {resolver: ['10.0.2.3']},
    }
    writeFileSync(join(folder, 'config.yaml'), JSON.stringify(settings))
  }

  /** of the project, as its state directory is called */
  get id(): string {
    const state = join(home, this.name, 'state', 'cage')
    return readdirSync(state).find((name) => name.startsWith(`${this.project}-`)) ?? ''
  }

  cage(...args: string[]): Promise<Outcome> {
    const {env, repository} = this
    return cage([...args, '-C', repository], {cwd: repository, timeoutMs: 590_000, env})
  }

  async ok(...args: string[]): Promise<string> {
    const outcome = await this.cage(...args)
    if (outcome.code !== 0) throw new Error(`cage ${args.join(' ')}: ${JSON.stringify(outcome)}`)
    return outcome.stdout
  }

  async json<T>(...args: string[]): Promise<T> {
    return JSON.parse(await this.ok(...args, '--json')) as T
  }

  async inTask(task: string, script: string): Promise<string> {
    // Not with -C: what follows `--` is the task's.
    const {env, repository} = this
    const outcome = await cage(['task', 'exec', task, '--', 'bash', '-c', script], {cwd: repository, env})
    if (outcome.code !== 0) throw new Error(`${script}: ${JSON.stringify(outcome)}`)
    return outcome.stdout
  }

  async destroy(): Promise<{removed: string[]; left: string[]}> {
    return this.json('destroy', '--confirm', this.project)
  }
}

describe('a cluster that was there, with two nodes', () => {
  const team = new TeamCluster(
    join(home, 'cluster'),
    join(process.env['XDG_CACHE_HOME'] ?? '', 'cage'),
    NETWORK,
  )
  const me = new Person('me', 'store')
  // The same name at the same path, as in two containers of one make.
  const other = new Person('other', me.project, me.repository)
  let cluster: Cluster
  let registry: FakeRegistry
  let settings: Record<string, unknown>
  let before: string[]

  /** Everything that `destroy` must leave as it was. */
  const inventory = async (): Promise<string[]> => {
    const kinds = [
      ['v1', 'Namespace'],
      ['admissionregistration.k8s.io/v1', 'ValidatingAdmissionPolicy'],
      ['admissionregistration.k8s.io/v1', 'ValidatingAdmissionPolicyBinding'],
      ['scheduling.k8s.io/v1', 'PriorityClass'],
      ['storage.k8s.io/v1', 'StorageClass'],
    ] as const
    const found = await Promise.all(kinds.map(([apiVersion, kind]) => cluster.list({apiVersion, kind})))
    return found.flat().map(({kind, metadata}) => `${kind} ${metadata.name} ${metadata.uid ?? ''}`)
  }
  const podsOf = async ({id}: Person): Promise<TaskPod[]> => {
    const pods = await cluster.list({apiVersion: 'v1', kind: 'Pod'})
    return pods
      .filter(({metadata}) => metadata.namespace === id || metadata.namespace === `${id}-dispatcher`)
      .map((pod) => ({name: pod.metadata.name, node: (pod['spec'] as {nodeName?: string}).nodeName ?? ''}))
  }
  const nodeOf = async (person: Person, task: string): Promise<string> => {
    const {pod} = await person.json<Task>('task', 'show', task)
    return (await podsOf(person)).find(({name}) => name === pod)?.node ?? ''
  }
  const drain = (node: string) =>
    team.kubectl(`drain ${node} --force --ignore-daemonsets --delete-emptydir-data --timeout=120s`)

  beforeAll(async () => {
    mkdirSync(home, {recursive: true})
    const pem = join(home, 'registry.pem')
    const key = join(home, 'registry.key')
    const made = await run('openssl', [
      ...[
        'req',
        '-x509',
        '-newkey',
        'ec',
        '-pkeyopt',
        'ec_paramgen_curve:prime256v1',
        '-nodes',
        '-days',
        '2',
      ],
      ...['-subj', '/CN=team registry', '-addext', `subjectAltName=IP:${team.computer}`],
      ...['-keyout', key, '-out', pem],
    ])
    expect(made.code).toBe(0)
    const tls = {key: readFileSync(key, 'utf8'), certificate: readFileSync(pem, 'utf8')}
    await team.start(tls.certificate)
    registry = new FakeRegistry(join(home, 'registry'), account, tls)
    const port = await registry.start(team.computer)
    const registryAuth = join(home, 'registry.json')
    const auth = Buffer.from(`${account.user}:${account.password}`).toString('base64')
    writeFileSync(registryAuth, JSON.stringify({auths: {[`${team.computer}:${port}`]: {auth}}}))
    const kubeconfig = await team.kubeconfig()
    settings = {kubeconfig, context: 'team', registry: `${team.computer}:${port}/team/cage`, registryAuth}
    cluster = await connect({kubeconfig, context: 'team'})
    await cluster.apply([
      ...[MOVABLE, PINNED].map(storageClass),
      ...Array.from({length: MOVABLE_DISKS}, (_, disk) =>
        volume(MOVABLE, disk, `${sharedFolder}/${disk}`, team.names),
      ),
      // For the dispatcher, which wants more than the small ones hold.
      volume(PINNED, 0, `${sharedFolder}/dispatcher`, team.names),
      ...team.names.flatMap((node, index) =>
        Array.from({length: PINNED_DISKS}, (_, disk) =>
          volume(PINNED, 1 + index * PINNED_DISKS + disk, `/var/lib/cage/volumes/own/${disk}`, [node], 2),
        ),
      ),
    ])
    await team.run(team.nodes[0], `mkdir ${sharedFolder}/{dispatcher,{0..${MOVABLE_DISKS - 1}}}`)
    for (const node of team.nodes)
      await team.run(node, `mkdir -p /var/lib/cage/volumes/own/{0..${PINNED_DISKS - 1}}`)
    await me.prepare()
    before = await inventory()
  }, 600_000)

  afterAll(async () => {
    await team.stop()
    await cluster.close()
    await registry.stop()
    rmSync(home, {recursive: true, force: true})
  }, 120_000)

  it('is asked first, and everything that it lacks is named before anything is made', async () => {
    me.configure({...settings, storageClass: 'no-such-class'})
    const {code, stderr} = await me.cage('up')
    expect(code).toBe(3)
    expect(stderr).toContain('storage class: no no-such-class among')
    expect(await inventory()).toEqual(before)
    expect(registry.manifests.size).toBe(0)
  }, 120_000)

  it('cage up pushes the images and makes the project in its own namespaces', async () => {
    me.configure({...settings, storageClass: MOVABLE})
    const up = await me.json<Up>('up')
    expect(up).toMatchObject({machine: {driver: 'none'}, cluster: {kind: 'existing', ready: true}})
    expect([...registry.manifests.keys()].map((name) => name.split(':')[0]).sort()).toEqual([
      'team/cage/agent',
      'team/cage/dispatcher',
      'team/cage/proxy',
    ])
    const again = await me.json<Up>('up')
    expect(again.steps.filter(({changed}) => changed)).toEqual([])
  }, 900_000)

  it('status says what stands for the firewall: here nothing enforces NetworkPolicy, as a probe saw', async () => {
    const status = await me.json<{cluster: {networkPolicy: string}; openings: {address: string}[]}>('status')
    expect(status.cluster.networkPolicy).toContain('not enforced by this cluster, seen by a probe')
    expect(status.openings.map(({address}) => address)).toContain('the cluster’s own network')
    const namespaces = await cluster.list({apiVersion: 'v1', kind: 'Namespace'})
    expect(namespaces.filter(({metadata}) => metadata.name.endsWith('-probe'))).toEqual([])
  }, 120_000)

  it('a task works, is fenced by its own pod alone, and pushes', async () => {
    await me.ok('task', 'new', 'work', '--agent', 'shell')
    // What listens there answers so whoever speaks plain HTTP; the probe of NetworkPolicy was a pod that it answered.
    const ask = `
      for way in 10.${NETWORK}.0.2/6443 10.${NETWORK}.0.2/10250 10.${NETWORK + 1}.0.2/10250; do
        timeout 5 bash -c "exec 3<>/dev/tcp/$way; printf 'GET /version HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3" 2>/dev/null |
          grep -c 'HTTPS server' || true
      done`
    expect((await team.run(team.nodes[0], ask)).trim().split('\n')).toEqual(['1', '1', '1'])
    const said = await me.inTask(
      'work',
      `echo kept >note && git add note && git commit -qm Note && git push -q origin HEAD && echo pushed
      echo untracked >left
      ${ask}`,
    )
    expect(said.trim().split('\n')).toEqual(['pushed', '0', '0', '0'])
    const {stdout: refs} = await run('git', ['-C', me.repository, 'ls-remote', 'cage'], {env: me.env})
    expect(refs).toContain('refs/heads/work')
  }, 400_000)

  it('tasks spread over both nodes', async () => {
    const names = Array.from({length: 5}, (_, i) => `more${i}`)
    for (const name of names) await me.ok('task', 'new', name, '--agent', 'shell')
    const tasks = (await podsOf(me)).filter(({name}) => name.startsWith('task-'))
    expect(tasks.length).toBe(6)
    expect([...new Set(tasks.map(({node}) => node))].sort()).toEqual([...team.names])
    for (const name of names.slice(2)) await me.ok('task', 'rm', name, '--force')
  }, 900_000)

  it('another person has the same project at the same path beside it', async () => {
    other.configure({...settings, storageClass: PINNED})
    await other.ok('up')
    await other.ok('task', 'new', 'stay', '--agent', 'shell')
    await other.inTask('stay', 'echo here >left')
    expect(other.id).not.toBe(me.id)
    expect(await me.json('task', 'show', 'work')).toMatchObject({phase: 'Running'})
  }, 900_000)

  it('a task whose node was drained comes back on the other one, if its volume can', async () => {
    const node = await nodeOf(other, 'stay')
    const there = (await podsOf(me)).filter((pod) => pod.node === node).map(({name}) => name)
    const gone = (await me.json<Task[]>('task', 'list')).filter(({pod}) => there.includes(pod))
    expect(gone).not.toEqual([])
    await drain(node)
    await eventually('the pods are gone', async () =>
      (await podsOf(me)).every((pod) => pod.node !== node) ? true : undefined,
    )
    for (const person of [me, other])
      await eventually('the dispatcher is on a node again', async () =>
        (await person.json<{dispatcher: {ready: boolean}}>('status')).dispatcher.ready ? true : undefined,
      )
    for (const {branch} of gone) {
      expect(await me.json('task', 'show', branch)).toMatchObject({phase: 'Failed'})
      await me.ok('task', 'start', branch)
      expect(await nodeOf(me, branch)).not.toBe(node)
    }
    expect(await me.inTask('work', 'cat note left')).toBe('kept\nuntracked\n')
    // Its dispatcher moved with its volume; it takes a push of what was there.
    await me.inTask('work', 'git add left && git commit -qm Left && git push -q origin HEAD')

    const stuck = await other.cage('task', 'start', 'stay', '--timeout', '60s')
    expect(stuck.code).not.toBe(0)
    expect(stuck.stderr).toContain('its volume lies on a node')
    await team.kubectl(`uncordon ${node}`)
    await other.ok('task', 'start', 'stay')
    expect(await nodeOf(other, 'stay')).toBe(node)
    expect(await other.inTask('stay', 'cat left')).toBe('here\n')
  }, 900_000)

  it('down leaves no pod, up and start bring everything back', async () => {
    const down = await me.json<{stopped: boolean; tasks: string[]}>('down')
    expect(down.stopped).toBe(true)
    expect(down.tasks).toContain('work')
    await eventually('no pod is left', async () => ((await podsOf(me)).length === 0 ? true : undefined))
    await me.ok('up')
    await me.ok('task', 'start', 'work')
    expect(await me.inTask('work', 'cat left')).toBe('untracked\n')
  }, 400_000)

  it('destroy removes exactly what is the project’s, and says what it left', async () => {
    const {id} = me
    const {removed, left} = await me.destroy()
    expect(removed.filter((name) => name.startsWith('namespace')).length).toBe(2)
    expect(left.some((name) => name.startsWith('PersistentVolume'))).toBe(true)
    expect(await other.json('task', 'show', 'stay')).toMatchObject({phase: 'Running'})
    expect((await inventory()).filter((thing) => thing.includes(` ${id}`))).toEqual([])
    await other.destroy()
    expect(await inventory()).toEqual(before)
  }, 400_000)
})

function storageClass(name: string) {
  return {
    apiVersion: 'storage.k8s.io/v1',
    kind: 'StorageClass',
    metadata: {name},
    provisioner: 'kubernetes.io/no-provisioner',
    volumeBindingMode: 'WaitForFirstConsumer',
  }
}

/** A disk that an administrator made by hand, for the given nodes. */
function volume(kind: string, number: number, path: string, nodes: readonly string[], gigabytes = 22) {
  const hostname = {key: 'kubernetes.io/hostname', operator: 'In', values: [...nodes]}
  return {
    apiVersion: 'v1',
    kind: 'PersistentVolume',
    metadata: {name: `${kind}-${number}`},
    spec: {
      accessModes: ['ReadWriteOnce'],
      capacity: {storage: `${gigabytes}G`},
      local: {path},
      nodeAffinity: {required: {nodeSelectorTerms: [{matchExpressions: [hostname]}]}},
      persistentVolumeReclaimPolicy: 'Retain',
      storageClassName: kind,
    },
  }
}
