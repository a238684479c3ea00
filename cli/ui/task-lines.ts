import type {Task} from '../../tasks/task.js'
import {table} from './table.js'

/** One line a task; hostile characters are escaped by the table. */
export function taskTable(tasks: readonly Task[]): string {
  return table(
    ['task', 'branch', 'phase', 'agent', 'state', 'requests', 'denied', 'created'],
    tasks.map((task) => [
      task.name,
      task.branch,
      task.phase,
      task.agent.name,
      agentText(task),
      task.counts ? String(task.counts.requests) : '-',
      task.counts ? String(task.counts.denials) : '-',
      task.created.slice(0, 16).replace('T', ' '),
    ]),
  )
}

/** Everything about one task, a line each. */
export function taskDetails(task: Task): string {
  return table(
    ['field', 'value'],
    [
      ['task', task.name],
      ['branch', task.branch],
      ['base', task.base],
      ['phase', task.phase],
      ...(task.reason === undefined ? [] : [['reason', task.reason]]),
      ['agent', task.agent.name],
      ['state', agentText(task)],
      ...(task.counts
        ? [
            ['requests', String(task.counts.requests)],
            ['denied', String(task.counts.denials)],
          ]
        : []),
      ['pod', `${task.namespace}/${task.pod}`],
      ['created', task.created],
    ],
  )
}

export function agentText({phase, agent}: Pick<Task, 'phase' | 'agent'>): string {
  const ended = agent.exitCode === null ? '' : ` (exit code ${agent.exitCode})`
  return phase === 'Running' || agent.state !== 'starting' ? `${agent.state}${ended}` : '-'
}
