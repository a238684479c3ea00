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
  const key = createHash('sha256').update(readFileSync(wanted)).digest('hex').slice(0, 16)
  const folder = `${store}/clients-${key}`
  const modules = `${folder}/node_modules`
  if (existsSync(modules)) return {modules}
  const draft = `${folder}.${process.pid}`
  mkdirSync(draft, {recursive: true})
  cpSync(wanted, `${draft}/package.json`)
  const {code, stderr} = await processRunner.run({
    argv: [
      'npm',
      'install',
      '--ignore-scripts',
      '--no-package-lock',
      '--no-audit',
      '--no-fund',
      '--loglevel=error',
    ],
    cwd: draft,
    timeoutMs: 180_000,
  })
  if (code === 0) renameSync(draft, folder)
  else rmSync(draft, {recursive: true})
  return code === 0 ? {modules} : {missing: `npm cannot install ${wanted}: ${stderr.slice(0, 300)}`}
}
