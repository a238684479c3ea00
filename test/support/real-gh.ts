import {execFileSync} from 'node:child_process'
import {createHash} from 'node:crypto'
import {existsSync, mkdirSync, readFileSync, renameSync} from 'node:fs'
import {tmpdir} from 'node:os'
import {join} from 'node:path'

/** gh as the image of agents has it, compiled once per version and computer; undefined with the reason when it cannot be. */
export function realGh(): {path: string} | {missing: string} {
  const lock = ['go.mod', 'go.sum'].map((name) => readFileSync(`images/gh/${name}`))
  const key = createHash('sha256').update(Buffer.concat(lock)).digest('hex').slice(0, 16)
  const folder = join(tmpdir(), `cage-test-gh-${key}`)
  const path = join(folder, 'gh')
  if (existsSync(path)) return {path}
  mkdirSync(folder, {recursive: true})
  const draft = join(folder, `.${process.pid}`)
  const build = ['build', '-mod=readonly', '-buildvcs=false', '-trimpath', '-ldflags', '-s -w']
  try {
    execFileSync('go', [...build, '-o', draft, 'github.com/cli/cli/v2/cmd/gh'], {
      cwd: 'images/gh',
      env: {...process.env, CGO_ENABLED: '0'},
      stdio: 'pipe',
    })
  } catch (error) {
    return {missing: `gh cannot be compiled here: ${String(error).split('\n')[0] ?? ''}`}
  }
  renameSync(draft, path)
  return {path}
}
