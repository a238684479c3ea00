import {describe, expect, it} from '@jest/globals'
import {Kind, parse} from 'graphql'
import {routeOf} from '../../../dispatcher/gate/route.js'
import {ApiDenied} from '../../../dispatcher/github/denied.js'
import {readGraphql} from '../../../dispatcher/github/document.js'
import {mutations} from '../../../dispatcher/github/mutations.js'
import {readRest} from '../../../dispatcher/github/rest.js'
import {readAdvertisement} from '../../../dispatcher/wire/advertisement.js'
import {FramingError} from '../../../dispatcher/wire/pkt-line.js'
import {readPushResult} from '../../../dispatcher/wire/push-result.js'
import {fuzz} from '../../support/mutations.js'

const corpus = (name: string) => `test/integration/dispatcher/corpus/${name}`
const framing = ['0000', '0001', '0004', 'fff0', '\0', '\n', ' ', '\r', '\u001b[2J', 'ERR ', 'refs/heads/']
const task = {owner: 'org', name: 'app', branch: 'fix', base: 'main'}

async function* inTwo(bytes: Buffer): AsyncGenerator<Buffer, void, void> {
  const half = Math.floor(bytes.length / 2)
  yield await Promise.resolve(bytes.subarray(0, half))
  yield bytes.subarray(half)
}

/** Runs it; an error of another kind than those that callers know is a defect. */
async function known<T>(errors: readonly (new (...args: never[]) => Error)[], work: () => T | Promise<T>) {
  try {
    return await work()
  } catch (error) {
    if (errors.some((kind) => error instanceof kind)) return undefined
    throw error
  }
}

describe('bytes of an upstream', () => {
  it('as a list of refs are read or refused, and name branches and tags only', async () => {
    await fuzz({corpus: corpus('advertisement'), rounds: 4000, seed: 1, words: framing}, async (bytes) => {
      let said: Awaited<ReturnType<typeof readAdvertisement>> | undefined
      try {
        said = await readAdvertisement(inTwo(bytes))
      } catch (error) {
        // ERR is the upstream's own words
        if (!(error instanceof FramingError) && !bytes.includes('ERR ')) throw error
      }
      const length = said?.format === 'sha256' ? 64 : 40
      for (const [ref, id] of said?.refs ?? []) {
        expect(ref).toMatch(/^refs\/(?:heads|tags)\/[^\s~^:?*[\\]+$/)
        expect(id).toMatch(new RegExp(`^[0-9a-f]{${length}}$`))
      }
    })
  })

  it('as the answer to a push are read or refused', async () => {
    for (const sideBand of [true, false])
      await fuzz({corpus: corpus('push-result'), rounds: 2000, seed: 2, words: framing}, async (bytes) => {
        const result = await known([FramingError], () => readPushResult(inTwo(bytes), sideBand))
        expect(result?.messages.length ?? 0).toBeLessThanOrEqual(20)
        for (const ref of result?.refs.keys() ?? []) expect(ref).toMatch(/^\S+$/)
      })
  })
})

describe('what an agent asks of GitHub', () => {
  it('as GraphQL is denied, or one operation that reads the same again', async () => {
    const words = [
      '{',
      '}',
      '(',
      ')',
      '...',
      '@include(if: true)',
      ' mutation ',
      'fragment F on Query',
      '"""',
      '#',
    ]
    const names = [
      'mergePullRequest(input: {pullRequestId: "x"}) {clientMutationId}',
      '__proto__',
      '$input',
      '\\"',
    ]
    await fuzz(
      {corpus: corpus('graphql'), rounds: 4000, seed: 3, words: [...words, ...names]},
      async (bytes) => {
        const request = await known([ApiDenied], () => readGraphql(bytes.toString(), task))
        if (!request) return
        const {query} = JSON.parse(request.body) as {query: string}
        const operations = parse(query).definitions.filter(({kind}) => kind === Kind.OPERATION_DEFINITION)
        expect(operations).toHaveLength(1)
        if (request.operation === 'mutation') {
          expect(request.roots).toHaveLength(1)
          expect(Object.keys(mutations)).toContain(request.roots[0])
        }
        const again = readGraphql(request.body, task)
        expect({body: again.body, roots: again.roots}).toEqual({body: request.body, roots: request.roots})
      },
    )
  })

  it('as REST is denied, or an address of its own repository that reads the same again', async () => {
    const words = ['/', '..', '%2e', '%2f', '//', ';', '?', '&', '#', '\\', 'merge', ':', '@', '%00', ' ']
    await fuzz({corpus: corpus('rest'), rounds: 6000, seed: 4, words}, async (bytes) => {
      const [method = '', target = '', ...body] = bytes.toString().split(' ')
      const request = await known([ApiDenied], () => readRest(method, target, body.join(' '), task))
      if (!request) return
      expect(request.target).toMatch(
        /^\/(?:$|user$|rate_limit$|search\/(?:issues|code|commits)\?|repos\/org\/app(?:$|[/?]))/,
      )
      const [path = ''] = request.target.split('?')
      expect(path).not.toMatch(/\/\.{0,2}(?:\/|$)(?!$)|[;\\#]|\/\//)
      expect(readRest(method, request.target, body.join(' '), task).target).toBe(request.target)
    })
  })

  it('as an address of git is a repository or nothing', async () => {
    const words = ['/', '..', '%2e', '//', '.git', '?', 'service=', 'info/refs', 'info/lfs/', '\\', '\0']
    await fuzz({corpus: corpus('git-target'), rounds: 6000, seed: 5, words}, (bytes) => {
      const [method = '', target = '', host = ''] = bytes.toString().split(' ')
      const route = routeOf(method, target, host)
      if (!('repository' in route)) return
      expect(route.repository).toMatch(/^(?:[A-Za-z0-9_~+.:-]+\/)*[A-Za-z0-9_~+.-]+\.git$/)
      expect(route.repository.split('/')).not.toContain('..')
    })
  })
})
