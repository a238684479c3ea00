import {createHash} from 'node:crypto'
import {cpSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync} from 'node:fs'
import {processRunner} from '../../core/process.js'

const store = '/var/cache/cage-test'

/**
 * Programs from npm that are not cage's own dependencies, installed once per list where every user can run them. Without
 * a lock file: it would name builds for other systems, which not every mirror has.
 */
export async function testClients(
  wanted = 'test/clients/package.json',
): Promise<{modules: string} | {missing: string}> {
  const options = ['--ignore-scripts', '--no-package-lock', '--no-audit', '--no-fund', '--loglevel=error']
  const fetched = await installed(wanted, 'package.json', ['npm', 'install', ...options])
  return 'missing' in fetched ? fetched : {modules: `${fetched.folder}/node_modules`}
}

/** The same from PyPI, for the Python of the distribution: others may be closed to other users. */
export async function testPythonClients(): Promise<{modules: string} | {missing: string}> {
  const options = ['-q', '--target', 'modules', '-r', 'requirements.txt']
  const install: [string, ...string[]] = [python, '-m', 'pip', 'install', ...options]
  const fetched = await installed('test/clients/requirements.txt', 'requirements.txt', install)
  return 'missing' in fetched ? fetched : {modules: `${fetched.folder}/modules`}
}

export const python = '/usr/bin/python3'

/** A folder that holds what the command made of the list, which has that name there. */
async function installed(
  list: string,
  name: string,
  argv: [string, ...string[]],
): Promise<{folder: string} | {missing: string}> {
  const key = createHash('sha256').update(readFileSync(list)).digest('hex').slice(0, 16)
  const folder = `${store}/clients-${key}`
  if (existsSync(folder)) return {folder}
  const draft = `${folder}.${process.pid}`
  mkdirSync(draft, {recursive: true})
  cpSync(list, `${draft}/${name}`)
  const failure = await processRunner.run({argv, cwd: draft, timeoutMs: 180_000}).then(
    ({code, stderr}) => (code === 0 ? undefined : stderr.slice(0, 300)),
    (error: unknown) => String(error),
  )
  if (failure === undefined) renameSync(draft, folder)
  else rmSync(draft, {recursive: true})
  return failure === undefined ? {folder} : {missing: `${argv[0]} cannot install ${list}: ${failure}`}
}
