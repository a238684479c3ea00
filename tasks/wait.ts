import {CageError} from '../core/errors.js'
import {container} from '../core/layout.js'
import {visible} from '../core/quote.js'
import {BoundedText, readAgentState} from './agent-state.js'
import {callOptions, namespaceOf, type TaskContext} from './context.js'
import {phaseOf, type PhaseView, type TaskPod} from './phase.js'
import {podRef} from './store.js'
import type {AgentReport} from './task.js'

/** A clone of a very large repository is the longest of the steps. */
export const START_DEADLINE_MS = 10 * 60 * 1000
const LOG_LINES = 20
const LOG_BYTES = 8192
const POLL_MS = 1000

const stepNames: Readonly<Record<string, string>> = {
  [container.fence]: 'closing the network',
  [container.sidecar]: 'starting the sidecar',
  [container.probe]: 'probing that nothing leaks',
  [container.clone]: 'cloning the repository',
  [container.agent]: 'starting the agent',
}

/**
 * Follows a task's pod until its agent's container runs.
 * Errors: TASK_START_FAILED with the failing container's last words; CLUSTER_DEADLINE with the step it stood at.
 */
export async function waitUntilRunning(
  context: TaskContext,
  task: string,
  deadlineMs = START_DEADLINE_MS,
): Promise<void> {
  const {cluster, reporter} = context
  let last: PhaseView = {phase: 'Pending'}
  try {
    await cluster.waitFor<TaskPod>(
      podRef(context, task),
      (pod) => {
        last = phaseOf('running', pod)
        if (last.phase === 'Failed') throw new StartFailure(last)
        if (last.stranded) throw stranded(task, last)
        reporter.detail(describe(last))
        return last.phase === 'Running'
      },
      {
        what: `the agent of task ${task} starts`,
        deadlineMs,
        hints: [
          `See \`cage task show ${task}\` and \`cage task logs ${task}\`.`,
          `It goes on starting; \`cage task rm ${task}\` removes it.`,
        ],
        ...callOptions(context),
      },
    )
  } catch (error) {
    if (error instanceof StartFailure) throw await startError(context, task, error.view)
    if (error instanceof CageError && error.code === 'CLUSTER_DEADLINE')
      throw new CageError(`${error.message} (it stands at: ${visible(describe(last))})`, {
        code: error.code,
        hints: error.hints,
        exitCode: error.exitCode,
        cause: error,
      })
    throw error
  }
}

/** The pod stays: the scheduler starts it as soon as the node takes pods. */
function stranded(task: string, {reason = ''}: PhaseView): CageError {
  return new CageError(
    `task ${task} has no place: its volume lies on a node that takes no pods now (${visible(reason)})`,
    {
      code: 'TASK_STRANDED',
      hints: [
        'Bring the node back (`kubectl uncordon NODE`): the task then starts by itself.',
        'What it had pushed is in the repository; a storage class whose volumes move keeps the rest reachable too.',
      ],
    },
  )
}

function describe({reason, step}: PhaseView): string {
  return (step !== undefined ? stepNames[step] : undefined) ?? reason ?? 'waiting for its pod'
}

class StartFailure extends Error {
  readonly view: PhaseView

  constructor(view: PhaseView) {
    super('the pod failed')
    this.view = view
  }
}

async function startError(context: TaskContext, task: string, view: PhaseView): Promise<CageError> {
  const {failed, reason = 'its pod failed'} = view
  const said = failed && !failed.broken ? await logTail(context, task, failed) : ''
  // The log says more than the reason, which was cut out of it.
  const short =
    failed?.exitCode === undefined ? reason : `${failed.container} ended with exit code ${failed.exitCode}`
  const message = said === '' ? visible(reason) : `${visible(short)}\n${said}`
  return new CageError(`task ${task} did not start: ${message}`, {
    code: 'TASK_START_FAILED',
    hints: [
      ...(failed?.broken ? ['Run `cage up`: it puts images and settings in place.'] : []),
      ...(failed?.container === container.probe
        ? ['The network of the pod is not closed as it has to be: run `cage up`, then `cage doctor`.']
        : []),
      `The task is still there: \`cage task start ${task}\` tries again, \`cage task rm ${task}\` removes it.`,
    ],
  })
}

/** The last lines of a container that failed, safe to print; empty when there are none. */
async function logTail(
  context: TaskContext,
  task: string,
  failed: NonNullable<PhaseView['failed']>,
): Promise<string> {
  const text = new BoundedText(LOG_BYTES)
  const read = (previous: boolean) =>
    context.cluster.logs(
      {
        namespace: namespaceOf(context),
        pod: podRef(context, task).name,
        container: failed.container,
        tail: LOG_LINES,
        previous,
      },
      text,
    )
  // The log of the failed run may be gone already; the reason stands without it.
  await read(failed.previous).catch(() => undefined)
  return visible(text.text.trimEnd(), '\n\t')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => `  ${failed.container}: ${line}`)
    .join('\n')
}

/** Waits until the agent has ended; nothing limits how long an agent works but the person. */
export async function waitUntilAgentEnds(context: TaskContext, task: string): Promise<AgentReport> {
  const {clock, cluster, reporter} = context
  const {name} = podRef(context, task)
  for (;;) {
    const report = await readAgentState(cluster, namespaceOf(context), name, context.signal)
    if (report) reporter.detail(`the agent is ${report.state}`)
    if (report?.state === 'done' || report?.state === 'failed') return report
    const pod = await cluster.get<TaskPod>(podRef(context, task), callOptions(context))
    if (!pod || phaseOf('running', pod).phase === 'Failed')
      throw await startError(context, task, phaseOf('running', pod))
    await clock.sleep(POLL_MS, context.signal)
  }
}
