import {createHash} from 'node:crypto'
import {appendFileSync, mkdirSync, readFileSync, readdirSync, statSync, writeFileSync} from 'node:fs'
import {afterAll, beforeAll, describe, expect, it} from '@jest/globals'
import {TestDispatcher, type TestTask} from '../../support/dispatcher.js'

let door: TestDispatcher
let task: TestTask
let commits = 0

beforeAll(async () => {
  door = await TestDispatcher.startSeeded()
  task = door.task('fix')
  door.clone(task, 'agent')
  door.box.git('agent', 'checkout', '-q', '-b', 'fix')
})
afterAll(() => door.stop())

const commit = () => door.box.commit('agent', 'fix', 'file.txt', `content ${++commits}\n`)
const push = () => door.gitAsAsync(task, 'agent', 'push', 'origin', 'fix')
const branch = () => door.refs()['refs/heads/fix']

async function restart(fault?: string): Promise<void> {
  await door.kill('git')
  door.startGit(fault === undefined ? {} : {fault})
  await door.ready()
}

function expectChain(): void {
  const lines = readdirSync(`${door.volume}/journal`)
    .sort()
    .flatMap((name) => readFileSync(`${door.volume}/journal/${name}`, 'utf8').split('\n').filter(Boolean))
  let previous = '0'.repeat(64)
  lines.forEach((line, index) => {
    const {seq, prev} = JSON.parse(line) as {seq: number; prev: string}
    expect({seq, prev}).toEqual({seq: index + 1, prev: previous})
    previous = createHash('sha256').update(line).digest('hex')
  })
}

describe('kill -9 in the middle of a push', () => {
  it.each([
    ['before index-pack', false],
    ['after index-pack', false],
    ['before for-each-ref', false],
    ['after rev-list', false],
    ['before pack-objects', false],
    ['after pack-objects', false],
    ['before update-ref', false],
    ['after update-ref', true],
  ])('%s: nothing half, and the journal knows the outcome', async (fault, applied) => {
    const old = branch()
    const tip = commit()
    await restart(fault)
    const {code} = await push()
    // git asks for the refs first, so a fault there hits before the push begins
    expect(code).not.toBe(0)
    await door.exited('git')
    await restart()
    expect(branch()).toBe(applied ? tip : old)
    door.hosted('fsck', '--full', '--strict')
    expect(door.quarantined()).toEqual([])
    const records = door.journal({task: 'fix'}).filter(({phase}) => phase !== 'decision')
    const intents = records.filter(({phase}) => phase === 'intent')
    const outcomes = records.filter(({phase}) => phase === 'outcome')
    expect(outcomes.map(({request}) => request)).toEqual(intents.map(({request}) => request))
    if (applied) expect(outcomes.at(-1)).toMatchObject({reconciled: true, decision: 'allow'})
    // the client tries again and ends where it wanted
    await push()
    expect(branch()).toBe(tip)
    expectChain()
  })

  it('at any moment: what was acknowledged stays', async () => {
    for (let n = 0; n < 5; n++) {
      const old = branch()
      const tip = commit()
      const pushing = push()
      await new Promise((resolve) => setTimeout(resolve, 20 + n * 40))
      await restart()
      const {code} = await pushing
      const now = branch()
      if (code === 0) expect(now).toBe(tip)
      else expect([old, tip]).toContain(now)
      door.hosted('fsck', '--full', '--strict')
      await push()
      expect(branch()).toBe(tip)
    }
    expectChain()
  })
})

describe('the journal', () => {
  it('loses a line cut short by a crash, and nothing else', async () => {
    await door.kill('git')
    const path = `${door.volume}/journal/000001.jsonl`
    const length = statSync(path).size
    appendFileSync(path, '{"seq":99999,"prev":"half a li')
    door.startGit()
    await door.ready()
    commit()
    expect((await push()).code).toBe(0)
    expect(readFileSync(path, 'utf8').slice(0, length).endsWith('}\n')).toBe(true)
    expectChain()
  })
})

describe('restarts', () => {
  it('remove what a crash left', async () => {
    await door.kill('git')
    const packs = `${door.volume}/repositories/shop.git/objects/pack`
    mkdirSync(`${door.volume}/quarantine/old/pack`, {recursive: true})
    writeFileSync(`${door.volume}/quarantine/old/pack/tmp_pack_x`, 'x')
    writeFileSync(`${packs}/pack-${'1'.repeat(40)}.pack`, 'half a pack')
    writeFileSync(`${packs}/tmp_idx_1`, 'x')
    writeFileSync(`${door.volume}/repositories/shop.git/refs/heads/fix.lock`, '')
    writeFileSync(`${door.volume}/repositories/shop.git/packed-refs.lock`, '')
    door.ownVolume()
    door.startGit()
    await door.ready()
    expect(door.quarantined()).toEqual([])
    expect(
      readdirSync(packs).filter((name) => name.startsWith('tmp_') || name.includes('1'.repeat(40))),
    ).toEqual([])
    commit()
    expect((await push()).code).toBe(0)
  })

  it('of gate alone and of git alone are noticed by nobody later', async () => {
    await door.kill('gate')
    door.startGate()
    await door.ready()
    commit()
    expect((await push()).code).toBe(0)
    await door.kill('git')
    const down = await push()
    expect(down.stderr).toMatch(/cage: the repositories cannot be reached right now/)
    door.startGit()
    await door.ready()
    commit()
    expect((await push()).code).toBe(0)
  })
})
