import {createHash} from 'node:crypto'
import {afterAll, beforeAll, beforeEach, describe, expect, it} from '@jest/globals'
import {fingerprintsOf} from '../../../scan/exact.js'
import {TestDispatcher, type TestTask} from '../../support/dispatcher.js'
import {sampleSecret, seededRandom} from '../../support/secret-sample.js'

let door: TestDispatcher
let task: TestTask
let base: string
let branch: string
let run = 0
let token: string

/** another one each time: what the repository has already is not judged again */
const random = seededRandom(42)
const newToken = () => sampleSecret('ghp_<crc:36>', random)

beforeAll(async () => {
  door = await TestDispatcher.startSeeded()
  door.clone(door.task('reader'), 'agent')
  base = door.box.git('agent', 'rev-parse', 'origin/main')
})
afterAll(() => door.stop())
beforeEach(() => {
  branch = `held-${++run}`
  token = newToken()
  task = door.task(branch, {secrets: {onFinding: 'hold'}})
  door.box.git('agent', 'update-ref', `refs/heads/${branch}`, base)
})

const commit = (file: string, content: string) => door.box.commit('agent', branch, file, content)
const push = () => door.gitAs(task, 'agent', 'push', 'origin', branch)
const isThere = () => door.refs()[`refs/heads/${branch}`] === door.box.git('agent', 'rev-parse', branch)
const decide = (request: string, approve: boolean) =>
  JSON.parse(door.control({op: 'held.decide', task: branch, request, approve}).stdout) as {
    decided?: unknown
    error?: {code: string}
  }
const held = () => {
  const {held: all} = JSON.parse(door.control({op: 'held.list'}).stdout) as {
    held: {task: string; request: string; findings: Record<string, unknown>[]}[]
  }
  return all.find((one) => one.task === branch)
}

describe('a push that waits for a person', () => {
  it('is refused with the way on, recorded, and passes unchanged once it is approved', () => {
    commit('key.txt', `${token}\n`)
    const {code, stderr} = push()
    expect({code, stderr}).toEqual({
      code: 1,
      stderr: expect.stringMatching(
        /\[remote rejected\].*\(held: a person has to approve it, then push again\)/,
      ),
    })
    expect(stderr).toMatch(/cage: \[held\] github-[a-z-]+ in "key.txt" line 1 \(value not shown\)/)
    expect(stderr).toContain('ask a person for `cage task approve`')
    expect(isThere()).toBe(false)
    expect(door.journal({task: branch}).at(-1)).toMatchObject({op: 'push', decision: 'hold'})
    const waiting = held()
    expect(waiting?.findings).toEqual([
      expect.objectContaining({type: 'blob', path: 'key.txt', line: 1, object: expect.any(String)}),
    ])
    expect(decide(waiting!.request, true)).toMatchObject({decided: {task: branch}})
    expect(held()).toBeUndefined()
    expect(push()).toMatchObject({code: 0})
    expect(isThere()).toBe(true)
    expect(door.journal({task: branch}).map(({op}) => op)).toContain('push.approve')
    expect(JSON.stringify(door.journal())).not.toContain(token)
  })

  it('is held again for every value that nobody has seen, also beside one that was approved', () => {
    commit('key.txt', `${token}\n`)
    push()
    decide(held()!.request, true)
    commit('more.txt', `${newToken()}\n`)
    expect(push()).toMatchObject({code: 1, stderr: expect.stringContaining('[held]')})
    expect(held()?.findings).toEqual([expect.objectContaining({path: 'more.txt'})])
    expect(isThere()).toBe(false)
  })

  it('cannot be exchanged for another one while a person looks', () => {
    commit('key.txt', `${token}\n`)
    push()
    const seen = held()!.request
    commit('other.txt', `${newToken()}\n`)
    push()
    expect(decide(seen, true)).toMatchObject({error: {code: 'HELD_CHANGED'}})
    expect(push()).toMatchObject({code: 1})
    expect(isThere()).toBe(false)
  })

  it('that was rejected says so, and survives a restart', async () => {
    commit('key.txt', `${token}\n`)
    push()
    decide(held()!.request, false)
    await door.kill('git')
    door.startGit()
    await door.ready()
    const {code, stderr} = push()
    expect({code, stderr}).toEqual({code: 1, stderr: expect.stringContaining('(a person has said no)')})
    expect(held()).toBeUndefined()
  })

  it('that breaks another rule is not worth a look: refused at once', () => {
    commit('key.txt', `${token}\n`)
    commit('.github/workflows/x.yml', 'on: push\n')
    expect(push()).toMatchObject({code: 1, stderr: expect.stringContaining('[path]')})
    expect(held()).toBeUndefined()
  })

  it('does not exist for a value that cage handed out, and what was said ends with the task', () => {
    const value = 'handed-out-by-cage-0123456789'
    const issued = fingerprintsOf([{id: 'own', value}])
    expect(door.control({op: 'document.put', part: task.part, issued}).code).toBe(0)
    commit('own.txt', `${value}\n`)
    expect(push()).toMatchObject({code: 1, stderr: expect.stringContaining('[secret] exact:own')})
    expect(held()).toBeUndefined()
    commit('key.txt', `${token}\n`)
    door.box.git('agent', 'reset', '-q', '--soft', base)
    door.control({op: 'document.remove', task: branch})
    expect(held()).toBeUndefined()
  })

  it('is none for an operator who decides about nothing', () => {
    expect(decide('01ABC', true)).toMatchObject({error: {code: 'NOTHING_HELD'}})
    expect(door.control({op: 'held.decide', task: '../x', request: 'a', approve: true}).code).toBe(1)
  })
})

describe('a value that is allowed by its hash', () => {
  const sha256 = (text: string) => createHash('sha256').update(text).digest('hex')
  const withAllow = (...allow: string[]) => {
    task = door.task(branch, {secrets: {onFinding: 'deny', allow}})
  }

  it('passes in any file; another value of the same kind does not', () => {
    const [known, other] = [newToken(), newToken()]
    withAllow(sha256(known))
    commit('a.txt', `token=${known}\n`)
    commit('b.json', `{"token":"${known}"}\n`)
    expect(push()).toMatchObject({code: 0})
    commit('c.txt', `${other}\n`)
    expect(push()).toMatchObject({code: 1, stderr: expect.stringContaining('"c.txt"')})
    expect(push().stderr).not.toContain(sha256(other))
  })

  it('is no cover for another one in its line, or behind many others', () => {
    const other = newToken()
    const many = Array.from({length: 250}, newToken)
    withAllow(...many.map(sha256))
    commit('line.txt', `${many[0]} ${other}\n`)
    expect(push()).toMatchObject({code: 1, stderr: expect.stringContaining('"line.txt" line 1')})
    door.box.git('agent', 'update-ref', `refs/heads/${branch}`, base)
    commit('many.txt', `${many.join('\n')}\n${other}\n`)
    expect(push()).toMatchObject({code: 1, stderr: expect.stringContaining('more than can be judged')})
    door.box.git('agent', 'update-ref', `refs/heads/${branch}`, base)
    commit('repeated.txt', `${many[0]}\n`.repeat(300))
    expect(push()).toMatchObject({code: 0})
  })

  it('is the whole key, not how keys of its kind begin', () => {
    const begin = `-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW\n`
    const key = (rest: string) => `${begin}${rest}\n-----END OPENSSH PRIVATE KEY-----`
    const [known, other] = [key('QyNTUxOQAAACDa'.repeat(5)), key('QyNTUxOQAAACDb'.repeat(5))]
    withAllow(sha256(known))
    commit('known.pem', `${known}\n`)
    expect(push()).toMatchObject({code: 0})
    commit('other.pem', `${other}\n`)
    expect(push()).toMatchObject({code: 1, stderr: expect.stringContaining('[secret] private-key')})
  })

  it('is nothing that the agent could write: no comment and no file of its own', () => {
    const other = newToken()
    withAllow()
    commit('cage.yaml', `git: {secrets: {allow: [${sha256(other)}]}}\n`)
    commit('d.txt', `${other} # cage:allow gitleaks:allow ${sha256(other)}\n`)
    expect(push()).toMatchObject({code: 1, stderr: expect.stringContaining('"d.txt"')})
  })
})
