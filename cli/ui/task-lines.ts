import type {Task, TaskSpend} from '../../tasks/task.js'
import {table} from './table.js'

/** One line a task; hostile characters are escaped by the table. */
export function taskTable(tasks: readonly Task[]): string {
  return table(
    ['task', 'branch', 'phase', 'agent', 'state', 'requests', 'denied', 'spent', 'created'],
    tasks.map((task) => [
      task.name,
      task.branch,
      task.phase,
      task.agent.name,
      agentText(task),
      task.counts ? String(task.counts.requests) : '-',
      task.counts ? String(task.counts.denials) : '-',
      task.counts?.spend ? spendText(task.counts.spend) : '-',
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
            ...(task.counts.spend
              ? [
                  ['spent', spendText(task.counts.spend)],
                  ['time', `${Math.floor(task.counts.spend.seconds / 60)} min`],
                ]
              : []),
          ]
        : []),
      ['pod', `${task.namespace}/${task.pod}`],
      ['created', task.created],
    ],
  )
}

/** `1.2M tokens, $3.40` */
export function spendText({tokens, usd}: TaskSpend): string {
  const amount =
    tokens < 1000
      ? String(tokens)
      : tokens < 1e6
        ? `${(tokens / 1e3).toFixed(1)}k`
        : `${(tokens / 1e6).toFixed(1)}M`
  return `${amount} tokens, $${usd.toFixed(2)}`
}

export function agentText({phase, agent}: Pick<Task, 'phase' | 'agent'>): string {
  const ended = agent.exitCode === null ? '' : ` (exit code ${agent.exitCode})`
  return phase === 'Running' || agent.state !== 'starting' ? `${agent.state}${ended}` : '-'
}
