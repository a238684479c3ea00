import type {Writable} from 'node:stream'
import {CageError} from '../core/errors.js'
import {container} from '../core/layout.js'
import {callOptions, namespaceOf, type TaskContext} from './context.js'
import {execInTask} from './exec.js'
import {podRef, type StoredTask} from './store.js'

export interface LogRequest {
  container: string
  follow: boolean
}

/**
 * Prints the lines of the agent's tmux pane, history included, without escape sequences; with `follow` the new ones
 * until the pane is dead. Runs in the pod; a line is known by its place in the history. A dead pane ends in blank lines
 * and tmux's own remark.
 */
const PANE_LINES = `
pane() { tmux -S /tmp/tmux.sock "$@"; }
printed=0
while state=$(pane display-message -p -t =agent: '#{history_size} #{cursor_y} #{pane_dead}'); do
  set -- $state
  if [ "$3" = 1 ]; then
    pane capture-pane -p -t =agent: -S $((printed - $1)) | sed '$ {/^Pane is dead/d}' | sed -e :a -e '/^\\n*$/{$d;N;ba' -e '}'
    exit 0
  fi
  if [ "$FOLLOW" = 1 ]; then last=$(($2 - 1)); else last=$2; fi
  total=$(($1 + last + 1))
  [ "$total" -ge "$printed" ] || printed=$1
  [ "$total" -eq "$printed" ] || pane capture-pane -p -t =agent: -S $((printed - $1)) -E "$last" || exit 1
  printed=$total
  [ "$FOLLOW" = 1 ] || exit 0
  sleep 0.5
done
exit 1`

/** Copies a container's output. For the agent of a running task that is its terminal; else what the container itself said. */
export async function copyTaskLog(
  context: TaskContext,
  stored: StoredTask,
  {container: name, follow}: LogRequest,
  out: Writable,
): Promise<void> {
  if (!stored.pod) {
    throw new CageError(`task ${stored.name} has no pod (phase ${stored.view.phase}): its output is gone`, {
      code: 'TASK_NOT_RUNNING',
      hints: [
        `\`cage audit --task ${stored.name}\` tells what it did; \`cage task start ${stored.name}\` goes on.`,
      ],
    })
  }
  if (name === container.agent && stored.view.phase === 'Running') {
    const code = await execInTask(
      context,
      stored.name,
      ['env', `FOLLOW=${follow ? '1' : '0'}`, 'sh', '-c', PANE_LINES],
      {stdout: out},
    )
    if (code === 0) return
  }
  await context.cluster.logs(
    {
      namespace: namespaceOf(context),
      pod: podRef(context, stored.name).name,
      container: name,
      follow,
      ...callOptions(context),
    },
    out,
  )
}
