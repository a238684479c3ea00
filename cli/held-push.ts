import {CageError, ExitCode} from '../core/errors.js'
import {visible} from '../core/quote.js'
import type {HeldPush} from '../tasks/dispatcher.js'
import type {ProjectContext} from './project-context.js'
import {confirm} from './ui/confirm.js'

export interface HeldDecision {
  task: string
  request: string
  findings: HeldPush['findings']
}

/** What the person wants, and how they can be asked. */
export interface Deciding {
  task: string | undefined
  /** of the push that was looked at; undefined = ask at the terminal */
  request: string | undefined
  approve: boolean
  mayAsk: boolean
  say: (text: string) => void
}

/** Shows the held push of a task and decides it. Errors: NOTHING_HELD (6), NOT_DECIDED (2). */
export async function decideHeldPush(project: ProjectContext, deciding: Deciding): Promise<HeldDecision> {
  const {approve, say} = deciding
  const [{taskContext, dispatcherControl}, {findStored}] = await Promise.all([
    import('./task-context.js'),
    import('../tasks/store.js'),
  ])
  const {name} = await findStored(await taskContext(project), deciding.task)
  const dispatcher = await dispatcherControl(project)
  const held = (await dispatcher.held()).find(({task}) => task === name)
  if (!held)
    throw new CageError(`no push of task ${name} is held`, {
      code: 'NOTHING_HELD',
      exitCode: ExitCode.notFound,
    })
  for (const line of heldLines(held)) say(line)
  if (!(await isWanted(held, deciding))) {
    throw new CageError(`the push of task ${name} is not decided`, {
      code: 'NOT_DECIDED',
      exitCode: ExitCode.usage,
      hints: [
        `Without a terminal: cage task ${approve ? 'approve' : 'reject'} ${name} --request ${held.request}`,
      ],
    })
  }
  await dispatcher.decideHeld(name, deciding.request ?? held.request, approve)
  say(
    approve
      ? `Approved: the same values pass from now on when task ${name} pushes; the agent has to push again.`
      : `Rejected: task ${name} is told so when it pushes these values again.`,
  )
  return {task: name, request: held.request, findings: held.findings}
}

async function isWanted(held: HeldPush, {request, approve, mayAsk}: Deciding): Promise<boolean> {
  if (request !== undefined) return true
  return mayAsk && (await confirm(approve ? `Let these values out with task ${held.task}?` : 'Reject it?'))
}

function heldLines({request, task, at, commands, findings}: HeldPush): string[] {
  const refs = commands.map(({ref, new: next}) => `${ref} to ${next.slice(0, 10)}`).join(', ')
  return [
    `Task ${task} pushed ${visible(refs)} at ${at}, request ${request}. It waits because of`,
    ...findings.map(({rule, type, object, path, line}) => {
      const where = type === 'blob' ? `${path} line ${line}` : `a ${type}`
      return visible(`  ${rule} in ${where}, object ${object.slice(0, 10)}`)
    }),
    `Look at one: cage task exec ${task} -- git cat-file -p ${findings[0]?.object.slice(0, 10) ?? ''}`,
  ]
}
