import {spawnSync} from 'node:child_process'
import {describe, expect, it} from '@jest/globals'

const run = (script: string, ...args: string[]) => spawnSync(script, args, {encoding: 'utf8', cwd: '/'})
const here = process.cwd()

describe('the scripts of a checkout', () => {
  it.each(['scripts/test', 'scripts/quickstart'])('%s explains itself', (script) => {
    const {status, stdout} = run(`${here}/${script}`, '--help')
    expect(status).toBe(0)
    expect(stdout).toContain(script)
    expect(stdout).not.toContain('set -')
  })

  it.each(['scripts/test', 'scripts/quickstart'])('%s refuses a flag that it does not know', (script) => {
    const {status, stderr} = run(`${here}/${script}`, '--wrong')
    expect(status).toBe(2)
    expect(stderr).toContain('--wrong')
  })

  it('scripts/quickstart refuses a folder that is no repository', () => {
    const {status, stderr} = run(`${here}/scripts/quickstart`, '/')
    expect(status).toBe(1)
    expect(stderr).toContain('is not inside a git repository')
  })

  it('npm run bench names what it can measure', () => {
    const {status, stderr} = spawnSync('node', ['scripts/bench.mjs'], {encoding: 'utf8'})
    expect(status).toBe(2)
    expect(stderr).toMatch(/startup/)
    expect(stderr).toMatch(/task/)
  })
})
