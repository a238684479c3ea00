import {afterAll, beforeAll, beforeEach, describe, expect, it} from '@jest/globals'
import {TestDispatcher, type TestTask} from '../../support/dispatcher.js'
import {GitUpstream} from '../../support/git-upstream.js'

let forge: GitUpstream
let door: TestDispatcher
let task: TestTask

const LFS = 'application/vnd.git-lfs+json'
const content = 'a large file\n'.repeat(1000)

beforeAll(async () => {
  forge = await GitUpstream.start()
  forge.create()
  forge.box.init('home')
  forge.box.commit('home', 'main', 'README.md', 'home\n')
  forge.box.git('home', 'push', '-q', forge.box.path('root/org/app.git'), 'main')
  door = await TestDispatcher.startBefore(forge)
  task = door.upstreamTask('fix')
})
afterAll(async () => {
  await door.stop()
  await forge.stop()
})
beforeEach(() => {
  forge.fail({})
  forge.seen()
})

interface BatchAnswer {
  message?: string
  objects: {oid: string; actions?: {download: {href: string; header?: unknown}}; error?: {code: number}}[]
}

async function batch(body: unknown): Promise<{status: number; answer: BatchAnswer; text: string}> {
  const {status, body: bytes} = await door.request({
    method: 'POST',
    path: '/org/app.git/info/lfs/objects/batch',
    handle: task.handle,
    headers: {host: 'forge.example.com', 'content-type': LFS, accept: LFS},
    body: JSON.stringify(body),
  })
  const text = bytes.toString()
  return {status, answer: JSON.parse(text) as BatchAnswer, text}
}

function get(path: string) {
  return door.request({path, handle: task.handle, headers: {host: 'forge.example.com'}})
}

describe('Git LFS', () => {
  it('objects are downloaded through the dispatcher, without any address or header of the store', async () => {
    const object = forge.lfsObject(content)
    const missing = {oid: 'f'.repeat(64), size: 5}
    const {status, answer, text} = await batch({operation: 'download', objects: [object, missing]})
    expect(status).toBe(200)
    expect(text).not.toContain('signed')
    expect(text).not.toContain('lfs-store')
    const [found, absent] = answer.objects
    expect(absent).toMatchObject({oid: missing.oid, error: {code: 404}})
    const {href, header} = found?.actions?.download ?? {href: ''}
    expect({href, header}).toEqual({
      href: `https://forge.example.com/org/app.git/info/lfs/objects/${object.oid}/${object.size}`,
      header: undefined,
    })
    const {status: fetched, body} = await get(new URL(href).pathname)
    expect(fetched).toBe(200)
    expect(body.toString()).toBe(content)
    expect(door.journal({task: 'fix'}).map(({op}) => op)).toContain('fetch')
  })

  it('is never uploaded, and nothing else of it is there', async () => {
    const object = {oid: 'e'.repeat(64), size: 5}
    const {status, answer} = await batch({operation: 'upload', objects: [object]})
    expect({status, message: answer.message}).toEqual({
      status: 403,
      message: 'cage: Git LFS upload is not allowed: commit small files instead',
    })
    for (const [method, path] of [
      ['POST', 'locks/verify'],
      ['GET', 'locks'],
      ['POST', 'verify'],
    ] as const) {
      const {status: other} = await door.request({
        method,
        path: `/org/app.git/info/lfs/${path}`,
        handle: task.handle,
        headers: {host: 'forge.example.com', 'content-type': LFS},
        ...(method === 'POST' ? {body: '{}'} : {}),
      })
      expect({path, status: other}).toEqual({path, status: 403})
    }
    expect(forge.seen()).toEqual([])
    expect(door.journal({task: 'fix'}).filter(({op}) => op === 'lfs')).toContainEqual(
      expect.objectContaining({decision: 'deny', ruleId: ['lfs']}),
    )
  })

  it.each([
    [{operation: 'download', objects: []}],
    [{operation: 'download', objects: [{oid: '../../x', size: 1}]}],
    [{operation: 'download', objects: [{oid: 'a'.repeat(64), size: -1}]}],
    [{operation: 'download', objects: 'all'}],
    [[]],
    ['text'],
  ])('%j is refused before the upstream sees it', async (body) => {
    expect((await batch(body)).status).toBe(403)
    expect(forge.seen()).toEqual([])
  })

  it('is not fetched from wherever a server points', async () => {
    const object = forge.lfsObject(content)
    for (const lfsHref of [
      'https://127.0.0.1:8443/x',
      'http://forge.example.com/lfs-store',
      'https://forge.example.com:444/lfs-store',
      'https://github-cloud.githubusercontent.com/x',
      'file:///etc',
      'nonsense',
    ]) {
      forge.fail({lfsHref})
      const {status, body} = await get(`/org/app.git/info/lfs/objects/${object.oid}/${object.size}`)
      expect({lfsHref, status, body: body.toString()}).toEqual({
        lfsHref,
        status: 403,
        body: expect.stringContaining('where the dispatcher does not go'),
      })
    }
  })

  it('of another size than was said ends without its end', async () => {
    const object = forge.lfsObject(content)
    for (const size of [object.size - 1, object.size + 1]) {
      const got = await get(`/org/app.git/info/lfs/objects/${object.oid}/${size}`).catch(() => undefined)
      expect(got?.body.toString()).not.toBe(content)
    }
  })

  it('of a repository that is not in the policy does not exist', async () => {
    const {status} = await get(`/org/other.git/info/lfs/objects/${'a'.repeat(64)}/1`)
    expect(status).toBe(404)
  })
})
