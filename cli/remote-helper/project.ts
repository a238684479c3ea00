import {createHash} from 'node:crypto'
import {CageError, ExitCode} from '../../core/errors.js'
import type {Runner} from '../../core/runner.js'
import {projectFiles, type ProjectFiles} from '../../provision/state/layout.js'
import {readRecord} from '../../provision/state/machine-record.js'
import {projectsIn} from '../../provision/state/projects.js'
import {findRepository} from '../project-identity.js'

export interface RemoteProject {
  id: string
  /** at the dispatcher, e.g. `shop.git` */
  repository: string
  files: ProjectFiles
}

/**
 * What `cage::<id>` or `cage::/path/to/repository` means on this computer.
 * Errors: REMOTE_URL (exit 2), MACHINE_MISSING (exit 3).
 */
export async function remoteProject(
  url: string,
  {stateHome, runner}: {stateHome: string; runner: Runner},
): Promise<RemoteProject> {
  const text = url.replace(/^cage::/, '')
  const id = text.startsWith('/') ? await idOfPath(text, stateHome, runner) : text
  if (!/^[a-z0-9][-a-z0-9]{0,40}-[0-9a-f]{8}$/.test(id)) {
    throw new CageError(`${JSON.stringify(url)} is no address of a cage project`, {
      code: 'REMOTE_URL',
      exitCode: ExitCode.usage,
      hints: [
        'Write cage::<project>-<8 hex> or cage::/path/to/repository; `cage up` adds the remote by itself.',
      ],
    })
  }
  const files = projectFiles(stateHome, id)
  const record = await readRecord(files.record)
  if (!record) throw noMachine(id)
  return {id, repository: `${record.project}.git`, files}
}

async function idOfPath(path: string, stateHome: string, runner: Runner): Promise<string> {
  const {commonDirectory} = await findRepository(runner, path)
  const hash = createHash('sha256').update(commonDirectory).digest('hex').slice(0, 8)
  const id = (await projectsIn(stateHome)).find((name) => name.endsWith(`-${hash}`))
  if (id === undefined) throw noMachine(path)
  return id
}

function noMachine(what: string): CageError {
  return new CageError(`${what} has no machine on this computer`, {
    code: 'MACHINE_MISSING',
    exitCode: ExitCode.precondition,
    hints: ['Run `cage up` in the repository.'],
  })
}
