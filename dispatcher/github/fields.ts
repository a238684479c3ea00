import type {GithubRepository} from '../../policy/github-repository.js'
import {ApiDenied} from './denied.js'

/**
 * What one field of a write may hold. `text` is shown to others and therefore filtered; `word` is a short line such as
 * a path; `branch` and `base` are those of the task; `helpers` is whether people at the upstream may push to the branch of
 * a pull request; `verdict` is what a review says; a list names the values.
 */
export type FieldRule =
  'text' | 'word' | 'number' | 'flag' | 'branch' | 'base' | 'helpers' | 'verdict' | readonly string[]

export type Fields = Readonly<Record<string, FieldRule>>

export interface TaskBranches {
  branch: string
  base: string
  /** that the branch is in; absent = it is in the repository itself */
  fork?: GithubRepository
}

export interface CheckedInput {
  /** only what was judged, built anew */
  values: Record<string, unknown>
  texts: {field: string; text: string}[]
}

const MAX_TEXT = 65_536
const MAX_WORD = 1024

/** Takes over the fields that a write may have; one that it may not have, or not with this value, denies it all. */
export function checkFields(
  fields: Fields,
  input: Record<string, unknown>,
  task: TaskBranches,
): CheckedInput {
  const checked: CheckedInput = {values: {}, texts: []}
  for (const [name, value] of Object.entries(input)) {
    const rule = Object.hasOwn(fields, name) ? fields[name] : undefined
    if (rule === undefined) throw new ApiDenied('github.field', `a task may not set ${shown(name)} here`)
    if (value === null) continue
    checkField(name, rule, value, task)
    checked.values[name] = rule === 'branch' ? headOf(task) : value
    if (rule === 'text') checked.texts.push({field: name, text: value as string})
  }
  // GitHub asks for more than the task's token has before it lets others push to a fork, and the default is that they may.
  if (task.fork)
    for (const [name, rule] of Object.entries(fields)) if (rule === 'helpers') checked.values[name] = false
  return checked
}

/** How GitHub calls the task's branch where pull requests lead to. */
function headOf({branch, fork}: TaskBranches): string {
  return fork ? `${fork.owner}:${branch}` : branch
}

function checkField(name: string, rule: FieldRule, value: unknown, task: TaskBranches): void {
  const wrong = (expected: string) => new ApiDenied('github.field', `${name} must be ${expected}`)
  switch (rule) {
    case 'text':
      if (typeof value !== 'string') throw wrong('a text')
      if (Buffer.byteLength(value) > MAX_TEXT) throw wrong(`at most ${MAX_TEXT} bytes long`)
      return
    case 'word':
      if (typeof value !== 'string' || value.length > MAX_WORD || /\p{Cc}/u.test(value))
        throw wrong('one short line')
      return
    case 'number':
      if (typeof value !== 'number' || !Number.isSafeInteger(value)) throw wrong('a whole number')
      return
    case 'flag':
    case 'helpers':
      if (typeof value !== 'boolean') throw wrong('true or false')
      return
    case 'branch':
      if (value !== task.branch && value !== headOf(task))
        throw wrong(`the branch of this task, ${headOf(task)}`)
      return
    case 'base':
      if (value !== task.base) throw wrong(`the base of this task, ${task.base}`)
      return
    case 'verdict':
      if (value !== 'COMMENT')
        throw new ApiDenied(
          'github.review',
          'a task reviews with COMMENT only: approving and requesting changes is left to a person',
        )
      return
    default:
      if (typeof value !== 'string' || !rule.includes(value)) throw wrong(rule.join(' or '))
  }
}

function shown(name: string): string {
  return /^\w{1,40}$/.test(name) ? name : 'a field of this name'
}
