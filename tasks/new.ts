import {CageError, ExitCode} from '../core/errors.js'
import type {KubeObject} from '../core/kube-object.js'
import {clusterNames} from '../core/layout.js'
import type {ObjectRef} from '../kube/cluster.js'
import {ledgerBytes} from '../manifests/task-objects.js'
import {checkBranchName, checkNewBranch, taskName} from '../policy/branch.js'
import {adapterOf} from './adapters/known.js'
import type {AgentCommands} from './adapters/adapter.js'
import type {PreparedGrant, TaskBlueprint, TaskProject} from './blueprint.js'
import {callOptions, uninterruptible, type TaskContext} from './context.js'
import type {DispatcherControl, RefList} from './dispatcher.js'
import {TaskObjects} from './objects.js'
import {removePieces} from './remove.js'
import {claimRefs, listStored, saveRecord, type StoredTask} from './store.js'
import type {TaskRecord} from './task.js'

export interface NewTaskRequest {
  branch: string
  /** absent = the upstream's default branch */
  base?: string
  agent: string
  prompt?: string
  args: readonly string[]
  /** continue a branch that is upstream already */
  existing: boolean
  /** the agent ends by itself when it is done */
  unattended: boolean
}

/**
 * Makes a task: everything is checked before anything exists, then record → rights, grant and volumes → pod.
 * A failure before the pod exists leaves nothing behind; `kill -9` leaves a task that `task start` completes and
 * `task rm` removes. Resolves when the pod exists; `waitUntilRunning` follows.
 * @returns the task's name
 */
export async function newTask(
  context: TaskContext,
  project: TaskProject,
  dispatcher: DispatcherControl,
  request: NewTaskRequest,
): Promise<string> {
  const {branch, agent, prompt, args, unattended} = request
  checkBranchName(branch)
  const commands = adapterOf(agent).commands({
    args,
    unattended,
    ...(prompt === undefined ? {} : {prompt}),
  })
  context.reporter.begin(`check branch ${branch}`)
  const blueprint = await project.blueprint(agent)
  const credentials = project.resolveCredentials(agent)
  // Judged below, after the branch: what the person typed comes first.
  credentials.catch(() => undefined)
  const [tasks, refs] = await Promise.all([listStored(context), dispatcher.refs(blueprint.repository)])
  const base = request.base ?? refs.defaultBranch
  checkBranch(request, base, tasks, refs)
  await credentials
  const task = taskName(branch)
  const grant = await project.prepareGrant({task, branch, base, agent, revision: 1, placeholders: {}})
  const record: TaskRecord = {
    version: 1,
    branch,
    base,
    agent,
    existing: request.existing,
    args: [...args],
    wanted: 'creating',
    diskBytes: blueprint.diskBytes,
    placeholders: grant.placeholders,
  }
  context.reporter.done()
  await make(context, dispatcher, {task, record, blueprint, grant, commands, prompt})
  return task
}

function checkBranch(
  request: NewTaskRequest,
  base: string,
  tasks: readonly StoredTask[],
  refs: RefList,
): void {
  const {branch, existing} = request
  const mine = tasks.find(({record}) => record.branch === branch)
  if (mine) throw taskExists(mine)
  checkNewBranch(branch, {
    base,
    protectedBranches: [refs.defaultBranch],
    taskBranches: tasks.map(({record}) => record.branch),
    existing: [...new Set([...refs.branches.keys(), ...refs.bases.keys()])],
    mayExist: existing,
  })
  if (!refs.bases.has(base))
    throw usage(`the base branch ${JSON.stringify(base)} is not upstream`, 'BASE_NOT_FOUND', [
      'Bring it there with `cage sync` or `git push cage`, or name another with --base.',
    ])
  if (existing && !refs.branches.has(branch))
    throw usage(
      `the branch ${JSON.stringify(branch)} is not upstream, so it cannot be continued`,
      'BRANCH_NOT_FOUND',
      ['Leave --existing away to start it.'],
    )
}

function taskExists({name, record, view}: StoredTask): CageError {
  const interrupted = record.wanted === 'creating' && view.phase === 'Pending'
  const how = interrupted ? 'its making was interrupted' : `phase ${view.phase}`
  return usage(
    `branch ${JSON.stringify(record.branch)} belongs to task ${name} already (${how})`,
    'TASK_EXISTS',
    [
      interrupted || view.phase === 'Stopped' || view.phase === 'Failed'
        ? `\`cage task start ${name}\` goes on with it.`
        : `\`cage attach ${name}\` shows it.`,
      `\`cage task rm ${name}\` removes it.`,
    ],
  )
}

function usage(message: string, code: string, hints: readonly string[]): CageError {
  return new CageError(message, {code, exitCode: ExitCode.usage, hints})
}

interface NewPieces {
  task: string
  record: TaskRecord
  blueprint: TaskBlueprint
  grant: PreparedGrant
  commands: AgentCommands
  prompt: string | undefined
}

async function make(context: TaskContext, dispatcher: DispatcherControl, pieces: NewPieces): Promise<void> {
  const {task, record, blueprint, grant} = pieces
  const objects = new TaskObjects({id: context.id, task, record, revision: 1, blueprint})
  // Built before anything exists: a bad value stops here.
  const pod = objects.pod(grant)
  const config = objects.config(pieces.commands, pieces.prompt)
  context.reporter.begin(`make task ${task}`)
  if ((await context.cluster.create(config, callOptions(context))) === 'exists')
    throw usage(`a task named ${task} exists already`, 'TASK_EXISTS', [
      `\`cage task show ${task}\` tells about it.`,
    ])
  try {
    await placePieces(context, dispatcher, {task, objects, grant, diskBytes: record.diskBytes})
    await context.cluster.create(pod, callOptions(context))
  } catch (error) {
    context.reporter.fail()
    // Even when the person interrupted: what is half made goes away.
    await removePieces(uninterruptible(context), dispatcher, task).catch(() => undefined)
    throw error
  }
  await saveRecord(context, task, {...record, wanted: 'running'})
  context.reporter.done()
}

export interface PlacedPieces {
  task: string
  objects: TaskObjects
  grant: PreparedGrant
  diskBytes: number
}

/** Clusters that bind a claim only when a pod wants it never get there: then the pod is made all the same. */
const BOUND_DEADLINE_MS = 3000

/** Everything a pod needs before it may exist: rights at the dispatcher, Secret and volumes side by side, then the claims. */
export async function placePieces(
  context: TaskContext,
  dispatcher: DispatcherControl,
  {task, objects, grant, diskBytes}: PlacedPieces,
): Promise<void> {
  const {cluster, volumes} = context
  await Promise.all([
    dispatcher.putDocument(grant.git, grant.issued),
    cluster.apply([objects.grant(grant)], callOptions(context)),
    volumes.ensure(clusterNames.home(task), diskBytes),
    volumes.ensure(clusterNames.ledger(task), ledgerBytes),
  ])
  // A claim that is older than its volume is bound only at the controller's next round, seconds later.
  await cluster.apply(objects.claims(), callOptions(context))
  await Promise.all(claimRefs(context, task).map((ref) => waitUntilBound(context, ref)))
}

/** The scheduler puts a pod with an unbound claim aside for seconds, so it is worth a moment. */
async function waitUntilBound(context: TaskContext, ref: ObjectRef): Promise<void> {
  try {
    await context.cluster.waitFor<KubeObject & {status?: {phase?: string}}>(
      ref,
      (claim) => claim?.status?.phase === 'Bound',
      {what: `claim ${ref.name} has its volume`, deadlineMs: BOUND_DEADLINE_MS, ...callOptions(context)},
    )
  } catch (error) {
    if (!(error instanceof CageError) || error.code !== 'CLUSTER_DEADLINE') throw error
  }
}
