import {afterAll, beforeAll, beforeEach, describe, expect, test} from '@jest/globals'
import type {EgressRule} from '../../../policy/grant.js'
import {egressRule} from '../../support/grants.js'
import {missing, TestNetwork} from './network.js'

/** What runs when a new revision comes: judged again, and ended when it would not be let begin. */
const reason = await missing()
const describeHere = reason === undefined ? describe : describe.skip
if (reason !== undefined) test(`skipped: ${reason}`, () => undefined)

const rule = {
  model: egressRule({id: 'model', host: 'model.test', methods: ['POST']}),
  socket: egressRule({id: 'ws', host: 'ws.test', websocket: true}),
  search: egressRule({id: 'mcp', host: 'mcp.test', mcp: {tools: ['search']}}),
  other: egressRule({id: 'other', host: 'allowed.test', methods: ['GET', 'POST']}),
}
const all = Object.values(rule)
const without = (...gone: EgressRule[]) => all.filter((one) => !gone.includes(one))

let network: TestNetwork
beforeAll(async () => {
  if (reason !== undefined) return
  network = await TestNetwork.create()
  await network.fence()
  network.writeGrant({rules: all})
  await network.startSidecar()
})
afterAll(async () => {
  if (reason === undefined) await network.destroy()
})
beforeEach(async () => {
  await network.put({rules: all})
  network.seen()
})

interface Running {
  /** `end` or `open` after so many ms at the most, and all that was said */
  ended(withinMs: number): Promise<string>
}

/** A request of the agent that is still under way when this resolves. */
async function running(host: string, head: string, body = ''): Promise<Running> {
  const text = `
    const tls = require('tls'), net = require('net'), fs = require('fs')
    const plain = net.connect(3128, '127.0.0.1', () => plain.write('CONNECT ${host}:443 HTTP/1.1\\r\\nhost: ${host}:443\\r\\n\\r\\n'))
    plain.once('data', () => {
      const socket = tls.connect({socket: plain, servername: '${host}', ca: fs.readFileSync(process.env.CAGE_CA)}, () => {
        socket.write(${JSON.stringify(head.replaceAll('\n', '\r\n'))} + '\\r\\n\\r\\n' + ${JSON.stringify(body)})
        setTimeout(() => console.log('sent'), 300)
      })
      socket.on('data', (chunk) => console.log(JSON.stringify(String(chunk))))
      socket.on('error', () => {})
      socket.on('close', () => { console.log('end'); process.exit() })
      process.stdin.once('data', (more) => socket.write(more))
    })`
  const child = network.startAgent([process.execPath, '-e', text])
  let said = ''
  child.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()))
  const until = async (word: string, ms: number) => {
    for (let waited = 0; waited < ms && !said.includes(`${word}\n`); waited += 20)
      await new Promise((resolve) => setTimeout(resolve, 20))
  }
  await until('sent', 10_000)
  return {
    ended: async (withinMs) => {
      await until('end', withinMs)
      child.kill('SIGKILL')
      return `${said.includes('end\n') ? 'ended' : 'open'} ${said}`
    },
  }
}

const model = () => {
  const body = JSON.stringify({model: 'claude-haiku-4-5', max_tokens: 9, stream: true, messages: []})
  const head = `POST /v1/messages HTTP/1.1\nhost: model.test\nx-fake: {"holdMs":20000}\ncontent-length: ${body.length}`
  return running('model.test', head, body)
}
const socket = () =>
  running(
    'ws.test',
    'GET / HTTP/1.1\nhost: ws.test\nconnection: upgrade\nupgrade: websocket\nsec-websocket-version: 13\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==',
  )
const slowCall = () => {
  const call = '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search"}'
  const head = `POST /mcp HTTP/1.1\nhost: mcp.test\ncontent-type: application/json\ncontent-length: ${call.length + 1}`
  return running('mcp.test', head, call)
}

/** Requests of the agent on eight connections, one after the other, until its input ends; the path says when it began. */
function traffic(host: string) {
  const text = `
    const https = require('https'), net = require('net'), tls = require('tls'), fs = require('fs')
    let path = '/before'
    const counts = {}
    process.stdin.once('data', () => { path = '/after'; process.stdin.once('data', () => { console.log(JSON.stringify(counts)); process.exit() }) })
    const agent = new https.Agent({keepAlive: true, maxSockets: 8})
    agent.createConnection = (_options, done) => {
      const plain = net.connect(3128, '127.0.0.1', () => plain.write('CONNECT ${host}:443 HTTP/1.1\\r\\nhost: ${host}:443\\r\\n\\r\\n'))
      plain.on('error', done)
      plain.once('data', () => {
        const socket = tls.connect({socket: plain, servername: '${host}', ca: fs.readFileSync(process.env.CAGE_CA)})
        socket.once('secureConnect', () => done(null, socket))
      })
    }
    const loop = () => {
      const sent = path
      const request = https.get({agent, host: '${host}', path: sent}, (answer) => {
        const key = sent + ' ' + answer.statusCode
        counts[key] = (counts[key] ?? 0) + 1
        answer.on('error', () => {}).on('close', () => setTimeout(loop, 2)).resume()
      })
      request.on('error', () => { if (!request.res) setTimeout(loop, 5) })
    }
    for (let index = 0; index < 8; index++) loop()`
  const child = network.startAgent([process.execPath, '-e', text])
  let said = ''
  child.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()))
  return {
    next: () => child.stdin.write('next\n'),
    counts: async () => {
      child.stdin.write('end\n')
      await child.exit
      return JSON.parse(said) as Record<string, number>
    },
  }
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

/** Resolves some answers after the first request for it arrived. */
async function untilSeen(wanted: string): Promise<void> {
  for (let waited = 0; waited < 15_000 && !network.seen().some(({url}) => url === wanted); waited += 50)
    await pause(50)
  await pause(500)
}

describeHere('a new revision', () => {
  test('decides alone once it is acknowledged, whatever is under way', async () => {
    const agent = traffic('allowed.test')
    await untilSeen('/before')
    await network.put({rules: without(rule.other)})
    agent.next()
    await pause(1000)
    const seen = network.seen().map(({url}) => url)
    const counts = await agent.counts()
    expect(counts['/before 200']).toBeGreaterThan(0)
    expect(counts['/after 403']).toBeGreaterThan(8)
    expect(counts['/after 200']).toBeUndefined()
    expect(seen).not.toContain('/after')
    // The same on the same route, allowed again.
    await network.put({rules: all})
    const again = traffic('allowed.test')
    again.next()
    await untilSeen('/after')
    expect((await again.counts())['/after 200']).toBeGreaterThan(0)
  })

  test.each([
    ['an answer that streams', model, rule.model],
    ['a WebSocket', socket, rule.socket],
    ['a call of MCP whose body is not complete', slowCall, rule.search],
  ])('ends %s that it does not allow', async (_name, start, gone) => {
    const under = await start()
    await network.put({rules: without(gone)})
    expect(await under.ended(5000)).toMatch(/^ended/)
    expect((await network.audit()).filter(({detail}) => detail?.includes('ended it'))).not.toEqual([])
    expect(network.seen().filter(({body}) => String(body).includes('tools/call'))).toEqual([])
  })

  test.each([
    ['an answer that streams', model],
    ['a WebSocket', socket],
  ])('leaves %s that it still allows', async (_name, start) => {
    const under = await start()
    await network.put({rules: without(rule.other)})
    expect(await under.ended(1500)).toMatch(/^open/)
  })
})
