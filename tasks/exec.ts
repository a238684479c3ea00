import type {Readable, Writable} from 'node:stream'
import {CageError} from '../core/errors.js'
import {container} from '../core/layout.js'
import type {TerminalSize} from '../kube/cluster.js'
import {callOptions, namespaceOf, type TaskContext} from './context.js'
import {podRef, type StoredTask} from './store.js'

export interface ExecStreams {
  stdin?: Readable
  stdout: Writable
  stderr?: Writable
  tty?: TerminalSize
  onResize?: (listener: (size: TerminalSize) => void) => () => void
  signal?: AbortSignal
}

/** A command that starts in the root of the task's clone. */
export function inClone(argv: readonly string[]): [string, ...string[]] {
  return ['sh', '-c', 'cd "$HOME/$CAGE_PROJECT" && exec "$@"', 'sh', ...argv]
}

/** The size travels beside the command and may arrive after it: so that its first look is right, it is set in front too. */
function inSize({rows, columns}: TerminalSize, argv: readonly string[]): [string, ...string[]] {
  const sized = 'stty rows "$0" cols "$1" 2>/dev/null; shift; exec "$@"'
  return ['sh', '-c', sized, String(rows), String(columns), ...argv]
}

/** The agent's own tmux session; UTF-8 always, and a terminal that every image knows. */
export const attachArgv: readonly [string, ...string[]] = [
  'env',
  'TERM=xterm-256color',
  'tmux',
  '-u',
  '-S',
  '/tmp/tmux.sock',
  'attach-session',
  '-t',
  '=agent',
]

export const hasSessionArgv: readonly [string, ...string[]] = [
  'tmux',
  '-S',
  '/tmp/tmux.sock',
  'has-session',
  '-t',
  '=agent',
]

/** Runs as the agent's uid in the agent's container; resolves with the command's own exit code. */
export function execInTask(
  context: TaskContext,
  task: string,
  argv: readonly [string, ...string[]],
  streams: ExecStreams,
): Promise<number> {
  return context.cluster.exec({
    namespace: namespaceOf(context),
    pod: podRef(context, task).name,
    container: container.agent,
    argv: streams.tty ? inSize(streams.tty, argv) : argv,
    ...callOptions(context),
    ...streams,
  })
}

/** Errors: TASK_NOT_RUNNING with what to do. */
export function requireRunning({name, view}: StoredTask): void {
  if (view.phase === 'Running') return
  const hint =
    view.phase === 'Stopped' || view.phase === 'Failed'
      ? `Start it with \`cage task start ${name}\`.`
      : `Wait for it: \`cage task show ${name}\`.`
  const reason = view.reason === undefined ? '' : `: ${view.reason}`
  throw new CageError(`task ${name} is not running (phase ${view.phase}${reason})`, {
    code: 'TASK_NOT_RUNNING',
    hints: [hint],
  })
}
