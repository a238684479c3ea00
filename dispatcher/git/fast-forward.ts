import {CageError} from '../../core/errors.js'
import type {RefCommand} from '../wire/receive-request.js'
import type {GitPrograms, GitRun} from './children.js'

/** Whether the old commit is an ancestor of the new one. */
export async function isFastForward(
  git: GitPrograms,
  place: GitRun,
  {old, new: next}: RefCommand,
): Promise<boolean> {
  const args = ['merge-base', '--is-ancestor', '--end-of-options', old, next]
  const {code, stderr} = await git.run(args, place)
  if (code > 1) throw new CageError(`git merge-base ended with ${code}: ${stderr}`, {code: 'GIT_FAILED'})
  return code === 0
}
