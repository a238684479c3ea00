import {afterEach, expect} from '@jest/globals'
import type {CageError} from '../../core/errors.js'
import {loadProject, type ProjectSettings} from '../../policy/load.js'
import {configFolder} from './config-files.js'

let made: ReturnType<typeof configFolder>[] = []
afterEach(() => {
  for (const folder of made) folder.remove()
  made = []
})

/** removed after the test */
export function folderOf(project?: string, operator?: string, others?: Record<string, string>) {
  const folder = configFolder({
    ...(project === undefined ? {} : {project}),
    ...(operator === undefined ? {} : {operator}),
    ...(others ? {others} : {}),
  })
  made.push(folder)
  return folder
}
export const load = (
  project?: string,
  operator?: string,
  others?: Record<string, string>,
): Promise<ProjectSettings> => loadProject(folderOf(project, operator, others).options)

export async function failure(project?: string, operator?: string): Promise<CageError> {
  try {
    await load(project, operator)
  } catch (error) {
    return error as CageError
  }
  throw new Error('accepted')
}
/** the lines of the refusal */
export const problems = async (project?: string, operator?: string) => {
  const {code, exitCode, message} = await failure(project, operator)
  expect([code, exitCode]).toEqual(['CONFIG_INVALID', 2])
  return message.split('\n')
}
