import {spawnSync} from 'node:child_process'
import {rmSync} from 'node:fs'
import {resolve} from 'node:path'

/** CAGE_TEST_KEEP=1 leaves the project up for looking around. */
export default async function teardown() {
  if (process.env.CAGE_TEST_KEEP === '1') return
  const repository = process.env.CAGE_TEST_REPOSITORY
  const args = [resolve('bin/cage'), 'destroy', '-C', repository, '--confirm', 'shop']
  const result = spawnSync(process.execPath, args, {stdio: 'inherit'})
  if (result.status !== 0) throw new Error(`cage destroy exited with ${result.status}`)
  rmSync(process.env.CAGE_TEST_SCRATCH, {recursive: true, force: true})
}
