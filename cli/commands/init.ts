import {open} from 'node:fs/promises'
import {join, resolve} from 'node:path'
import {BaseCommand} from '../base-command.js'
import {CageError, ExitCode, messageOf} from '../../core/errors.js'
import {processRunner} from '../../core/process.js'
import {findRepository, projectNameOf} from '../project-identity.js'

export default class Init extends BaseCommand<typeof Init> {
  static override summary = 'Write a commented cage.yaml into the root of the repository'
  static override description =
    'cage.yaml is optional. The file sets nothing: take in the lines you want. One that exists is left as it is.'

  public async run(): Promise<{path: string}> {
    const repository = await findRepository(processRunner, resolve(this.flags.project))
    const {initialCageYaml} = await import('../../policy/init-text.js')
    const path = join(repository.directory, 'cage.yaml')
    await writeNew(path, initialCageYaml(projectNameOf(repository) ?? 'shop'))
    this.log(`written: ${path}`)
    return {path}
  }
}

/** Never through a link, never over a file. */
async function writeNew(path: string, text: string): Promise<void> {
  try {
    const file = await open(path, 'wx', 0o644)
    try {
      await file.writeFile(text)
    } finally {
      await file.close()
    }
  } catch (cause) {
    const exists = (cause as NodeJS.ErrnoException).code === 'EEXIST'
    throw new CageError(exists ? `${path} exists already` : `cannot write ${path}: ${messageOf(cause)}`, {
      code: exists ? 'FILE_EXISTS' : 'FILE_NOT_WRITTEN',
      exitCode: ExitCode.failed,
      hints: exists ? ['Edit it; docs/reference/cage-yaml.md lists every field.'] : [],
      cause,
    })
  }
}
