import {newTask, type NewTaskRequest} from '../../tasks/new.js'
import {removeTask, type KeepAudit} from '../../tasks/remove.js'
import {startTask} from '../../tasks/stop-start.js'
import {findStored} from '../../tasks/store.js'
import {taskName} from '../../policy/branch.js'
import type {TaskWorld} from './task-world.js'

export const request: NewTaskRequest = {
  branch: 'fix/login',
  agent: 'shell',
  args: ['make', 'test'],
  existing: false,
  unattended: false,
}
export const name = taskName('fix/login')
export const keep: KeepAudit = async (_task, whilePodEnds) => whilePodEnds()
/** every piece of the task */
export const everything = [
  `ConfigMap config-${name}`,
  `PersistentVolumeClaim home-${name}`,
  `PersistentVolumeClaim ledger-${name}`,
  `Pod task-${name}`,
  `Secret grant-${name}`,
  'document',
  `volume home-${name}`,
  `volume ledger-${name}`,
]

/** What a person does with the task, in the world of the moment. */
export function lifeIn(world: () => TaskWorld) {
  const make = (changes: Partial<NewTaskRequest> = {}, context = world().context()) =>
    newTask(context, world().project, world().dispatcher(context), {...request, ...changes})
  const find = (task = name) => findStored(world().context(), task)
  const start = async () => startTask(world().context(), world().project, world().dispatcher(), await find())
  const remove = async () => removeTask(world().context(), world().dispatcher(), await find(), keep)
  return {make, find, start, remove}
}
