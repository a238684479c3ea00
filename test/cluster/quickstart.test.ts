import {existsSync} from 'node:fs'
import {join, resolve} from 'node:path'
import {afterAll, describe, expect, it} from '@jest/globals'
import {run, scratch} from './harness.js'

// A second project on this computer, beside the tier's own: the same default ports, another id.
const home = join(scratch, 'quickstart')
const env = {...process.env, CAGE_QUICKSTART_DIR: home, XDG_STATE_HOME: join(home, 'state')}
const quickstart = (...args: string[]) => run(resolve('scripts/quickstart'), args, {env, timeoutMs: 900_000})
const steps = (text: string) => text.split('\n').filter((line) => line.startsWith('▸'))

describe('scripts/quickstart', () => {
  afterAll(async () => {
    if (existsSync(home)) await quickstart('--destroy')
  }, 300_000)

  it('shows two agents on two branches, each behind its doors', async () => {
    const {code, stdout, stderr} = await quickstart()
    expect({code, stderr: code === 0 ? '' : stderr, stdout: code === 0 ? '' : stdout}).toEqual({
      code: 0,
      stderr: '',
      stdout: '',
    })
    expect(stdout).not.toContain('NOT AS EXPECTED')
    expect(stdout.match(/ {2}ok: /g)).toHaveLength(12)
    expect(stdout).toMatch(/fix\/tax-rounding +[0-9a-f]+ Round tax line by line/)
    expect(stdout).toMatch(/feature\/gift-wrap +[0-9a-f]+ Wrap gifts/)
    expect(steps(stdout).length).toBeGreaterThan(8)
  }, 920_000)

  it('runs again in what it left, on branches of their own', async () => {
    const {code, stdout} = await quickstart()
    expect({code, stdout: code === 0 ? '' : stdout}).toEqual({code: 0, stdout: ''})
    expect(stdout).toContain('fix/tax-rounding-2')
  }, 920_000)

  it('removes what it made', async () => {
    expect(await quickstart('--destroy')).toMatchObject({code: 0})
    expect(existsSync(join(home, 'shop'))).toBe(false)
  }, 300_000)
})
