import {createHash, randomBytes} from 'node:crypto'
import {container, gitHost} from '../../core/layout.js'
import {BoundedText} from '../agent-state.js'
import type {TaskProject} from '../blueprint.js'
import {callOptions, namespaceOf, uninterruptible, type TaskContext} from '../context.js'
import type {DispatcherControl} from '../dispatcher.js'
import {newTask} from '../new.js'
import {removeTask, type KeepAudit} from '../remove.js'
import {findStored, podRef} from '../store.js'
import {waitUntilRunning} from '../wait.js'
import {admissionCases, type AdmittedPod} from './admission.js'
import {attempt} from './attempt.js'
import type {Canary} from '../../core/canary.js'
import {attacks, controls, besidePods, type Attack, type Targets} from './cases.js'
import {gitPushes, gitRequests, pushControl} from './cases-git.js'
import {projectGit, refsAfterwards, removeBranch, type ProjectGit} from './git.js'
import {judge, layersOf, type Layer, type PolicyFinding, type VerifyCase} from './judge.js'

/** What stands around the cluster; the CLI puts it up and takes it down. */
export interface VerifySurroundings {
  canaries: readonly Canary[]
  closed: Targets['closed']
  /** those of `ADDRESS:PORT` that answer a place beside the pods, which has no fence of its own */
  lookOut: (targets: readonly string[]) => Promise<readonly string[]>
  /** tries whether the cluster enforces NetworkPolicy */
  tryPolicy: () => Promise<PolicyFinding>
  /** whether something answers the machine at a TCP port */
  reaches: (address: string, port: number) => Promise<boolean>
}

export interface VerifyReport {
  cases: VerifyCase[]
  layers: Layer[]
  passed: number
  failed: number
}

const GIT_AT_ONCE = 4
/** what was sent last is under way */
const SETTLE_MS = 1000

/**
 * Attacks the project's own installation from a throwaway task, and from beside the pods where the firewall alone
 * stands in the way; judged by canaries outside, each attack's route by a control that must work.
 */
export async function verify(
  context: TaskContext,
  project: TaskProject,
  dispatcher: DispatcherControl,
  surroundings: VerifySurroundings,
  keepAudit: KeepAudit,
): Promise<VerifyReport> {
  const {canaries, closed} = surroundings
  const nonce = randomBytes(8).toString('hex')
  const token = (id: string) =>
    `cv${createHash('sha256').update(`${nonce} ${id}`).digest('hex').slice(0, 24)}`
  const targets: Targets = {canaries, closed, token, gitHost}
  const branch = `cage-verify/${nonce}`
  const task = await newTask(context, project, dispatcher, {
    branch,
    agent: 'shell',
    args: ['sleep', 'infinity'],
    existing: false,
    unattended: true,
  })
  let pushed: ProjectGit | undefined
  try {
    context.reporter.begin('start the throwaway task')
    await waitUntilRunning(context, task)
    context.reporter.done()
    context.reporter.begin('attack')
    const machine = await machineControls(context, surroundings, token)
    const git = await projectGit(project, dispatcher, {task, branch, nonce})
    pushed = git
    const fromTask = [...controls(targets), ...attacks(targets)]
    const [requests, pushes, last] = [gitRequests(git), gitPushes(git), pushControl(git)]
    const outside = besidePods(targets)
    const [saidInTask, saidOutside, admission, policy] = await Promise.all([
      attempt(context, task, fromTask),
      lookOut(surroundings, outside),
      context.cluster
        .get<AdmittedPod>(podRef(context, task), callOptions(context))
        .then((found) => admissionCases(context, found)),
      surroundings.tryPolicy(),
    ])
    // Fewer at once than the dispatcher takes; and the last one after the others, which are refused for what is in them.
    const saidOfGit = [
      ...(await attempt(context, task, [...requests, ...pushes], GIT_AT_ONCE)),
      ...(await attempt(context, task, [last])),
    ]
    const refs = await refsAfterwards(dispatcher, git)
    await context.clock.sleep(SETTLE_MS, context.signal)
    const heard = canaries.flatMap((canary) => canary.heard().map((one) => ({...one, where: canary.where})))
    const cases = [
      ...machine,
      ...judge(
        [...fromTask, ...requests, ...pushes, last, ...outside],
        new Map([...saidInTask, ...saidOfGit, ...saidOutside]),
        {heard, token},
      ),
      refs,
      ...admission,
    ]
    const layers = layersOf(cases, [...fromTask, ...outside], {
      userMap: await readUserMap(context, task),
      policy,
    })
    context.reporter.done()
    const failed = cases.filter(({ok}) => !ok).length
    return {cases, layers, passed: cases.length - failed, failed}
  } finally {
    // Also when the person interrupted.
    const last = uninterruptible(context)
    try {
      if (pushed) await removeBranch(last, dispatcher, pushed)
    } finally {
      await removeTask(last, dispatcher, await findStored(last, task), keepAudit)
    }
  }
}

/** The canaries hear what the machine sends, and what must be closed to pods answers the machine. */
async function machineControls(
  context: TaskContext,
  {canaries, closed, reaches}: VerifySurroundings,
  token: Targets['token'],
): Promise<VerifyCase[]> {
  const base = {class: 'CONTROL', where: 'machine' as const}
  const knocks = canaries.flatMap((canary) =>
    canary.ports.flatMap((port) => (['tcp', 'udp'] as const).map((protocol) => ({canary, port, protocol}))),
  )
  await Promise.all(
    knocks.map(({canary, port, protocol}) =>
      canary.knock(protocol, port, token(controlId(canary, protocol, port))).catch(() => undefined),
    ),
  )
  await context.clock.sleep(SETTLE_MS, context.signal)
  const heard = knocks.map(({canary, port, protocol}): VerifyCase => {
    const id = controlId(canary, protocol, port)
    const ok = canary.heard().some((one) => one.text.includes(token(id)))
    return {
      ...base,
      id,
      attack: `${protocol.toUpperCase()} to the canary on the ${canary.where} at ${canary.address}:${port}`,
      expect: 'the canary hears it',
      got: ok ? 'heard' : 'silence: the canary proves nothing on this route',
      ok,
    }
  })
  const answered = await Promise.all(
    closed.map(async ({name, address, port}): Promise<VerifyCase> => {
      const ok = await reaches(address, port)
      return {
        ...base,
        id: `CONTROL-machine.${name.replaceAll(' ', '-')}`,
        attack: `TCP to the ${name} at ${address}:${port}`,
        expect: 'answers the machine',
        got: ok ? 'answers' : 'no answer: its silence to pods proves nothing',
        ok,
      }
    }),
  )
  return [...heard, ...answered]
}

function controlId({where}: Pick<Canary, 'where'>, protocol: string, port: number): string {
  return `CONTROL-canary.${where}.${protocol}.${port}`
}

/** What each place beside the pods says of its target. */
async function lookOut(
  surroundings: VerifySurroundings,
  list: readonly Attack[],
): Promise<Map<string, string>> {
  const target = ({do: [, address, port]}: Attack) => `${String(address)}:${String(port)}`
  const open = await surroundings.lookOut(list.map(target))
  return new Map(list.map((one) => [one.id, open.includes(target(one)) ? 'connected' : 'no connection']))
}

/** `/proc/self/uid_map` of the task. */
async function readUserMap(context: TaskContext, task: string): Promise<string> {
  const out = new BoundedText(256)
  await context.cluster.exec({
    namespace: namespaceOf(context),
    pod: podRef(context, task).name,
    container: container.agent,
    argv: ['cat', '/proc/self/uid_map'],
    stdout: out,
    ...callOptions(context),
  })
  return out.text
}
