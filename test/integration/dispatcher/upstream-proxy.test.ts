import {readFileSync} from 'node:fs'
import {createServer, type Server} from 'node:http'
import {connect, type AddressInfo, type Socket} from 'node:net'
import {afterAll, beforeAll, beforeEach, describe, expect, it} from '@jest/globals'
import {TestDispatcher, type TestTask} from '../../support/dispatcher.js'
import {GitUpstream} from '../../support/git-upstream.js'

const OPEN = 'HTTP/1.1 200 Connection established\r\n\r\n'

/** An HTTP proxy that leads to one address, whatever name it is asked for, and remembers what it was asked. */
class CompanyProxy {
  readonly asked: string[] = []
  /** everything that was said to it */
  heard = ''
  answer = OPEN
  readonly #server: Server
  readonly #sockets = new Set<Socket>()

  constructor(target: {address: string; port: number}) {
    this.#server = createServer((_, response) => void response.writeHead(405).end())
    this.#server.on('connect', (request, client: Socket) => {
      this.asked.push(request.url ?? '')
      this.heard += request.rawHeaders.join()
      client.on('data', (chunk) => (this.heard += chunk.toString('latin1')))
      const far = connect(target.port, target.address)
      for (const socket of [client, far]) {
        this.#sockets.add(socket)
        socket.on('error', () => socket.destroy())
      }
      client.write(this.answer)
      if (this.answer.endsWith(OPEN)) client.pipe(far).pipe(client)
      else client.end()
    })
  }

  async start(): Promise<{address: string; port: number}> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve))
    return {address: '127.0.0.1', port: (this.#server.address() as AddressInfo).port}
  }

  /** Ends what is open, and lets the other side see it. */
  async hangUp(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    await new Promise((next) => setTimeout(next, 100))
  }

  async stop(): Promise<void> {
    await this.hangUp()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}

let forge: GitUpstream
let door: TestDispatcher
let task: TestTask
let proxy: CompanyProxy
let way: {address: string; port: number}
let files = 0

beforeAll(async () => {
  forge = await GitUpstream.start()
  forge.create()
  forge.box.init('home')
  forge.box.commit('home', 'main', 'README.md', 'home\n')
  forge.box.git('home', 'push', '-q', forge.box.path('root/org/app.git'), 'main')
  proxy = new CompanyProxy(forge)
  way = await proxy.start()
  door = await TestDispatcher.startBefore(forge)
  task = door.upstreamTask('fix')
  tell()
  expect(await gitAs('.', 'clone', '-q', door.forgeUrl(), 'agent')).toMatchObject({code: 0})
  door.box.git('agent', 'checkout', '-q', '-b', 'fix')
})
afterAll(async () => {
  await door.stop()
  await forge.stop()
})
beforeEach(() => {
  forge.seen()
  proxy.asked.length = 0
  proxy.answer = OPEN
  expect(tell()).toBe(0)
})

/** By name, as where nothing but the proxy leads out. */
function tell(over: Record<string, unknown> = {}, upstreamProxy: unknown = way): number {
  const upstream = {url: forge.url(), ca: forge.ca, credential: forge.token, ...over}
  const settings = {upstreams: [upstream], resolver: [], allowAddresses: [], upstreamProxy}
  return door.control({op: 'upstream.put', ...settings}).code
}
const gitAs = (where: string, ...args: string[]) => door.gitAsAsync(task, where, ...args)
const commit = () => door.box.commit('agent', 'fix', `file-${++files}.txt`, `content ${files}\n`)
const branch = () => forge.refs()['refs/heads/fix']

describe('an upstream behind the proxy of a company', () => {
  it('is asked through it by name, with its own TLS, for fetch and push', async () => {
    // What the clone left open would do.
    await proxy.hangUp()
    const tip = commit()
    expect(await gitAs('agent', 'push', '-q', 'origin', 'fix')).toMatchObject({code: 0})
    expect(branch()).toBe(tip)
    expect(await gitAs('agent', 'fetch', '-q', 'origin')).toMatchObject({code: 0})
    expect(proxy.asked.length).toBeGreaterThan(0)
    expect(new Set(proxy.asked)).toEqual(new Set(['forge.example.com:443']))
  })

  it('shows the proxy nothing but the name', () => {
    expect(proxy.heard).toContain('forge.example.com:443')
    for (const secret of [forge.token, Buffer.from(`x-access-token:${forge.token}`).toString('base64')])
      expect(proxy.heard).not.toContain(secret)
    expect(proxy.heard).not.toContain('git-receive-pack')
  })

  it.each([
    ['refuses', 'HTTP/1.1 403 Forbidden\r\n\r\n', 'the upstream proxy said HTTP/1.1 403 Forbidden'],
    ['speaks for the host', `${OPEN}HTTP/1.1 200 OK\r\n\r\n`, 'cannot be reached right now'],
    ['says no HTTP', 'SSH-2.0-proxy\r\n\r\n', 'the upstream proxy said SSH-2.0-proxy'],
  ])('a proxy that %s is a failure and not a way around it', async (_, answer, words) => {
    const before = forge.refs()
    commit()
    proxy.answer = answer
    // What is kept open from before leads through the proxy too.
    await proxy.hangUp()
    const {code, stderr} = await gitAs('agent', 'push', 'origin', 'fix')
    expect({code, stderr}).toMatchObject({code: 128, stderr: expect.stringContaining(words)})
    expect(proxy.asked).toContain('forge.example.com:443')
    expect(forge.seen()).toEqual([])
    expect(forge.refs()).toEqual(before)
    proxy.answer = OPEN
    expect(await gitAs('agent', 'push', '-q', 'origin', 'fix')).toMatchObject({code: 0})
  })

  it('a certificate of another authority ends the connection before anything is said', async () => {
    expect(tell({ca: readFileSync(`${door.tls}/ca.crt`, 'utf8')})).toBe(0)
    const {code, stderr} = await gitAs('agent', 'fetch', 'origin')
    expect({code, stderr}).toMatchObject({code: 128, stderr: expect.stringContaining('certificate')})
    expect(proxy.asked).toEqual(['forge.example.com:443'])
    expect(forge.seen()).toEqual([])
  })

  it('an exact way is the operator’s word and leads past the proxy', async () => {
    expect(tell({address: forge.address, port: forge.port})).toBe(0)
    expect(await gitAs('agent', 'fetch', '-q', 'origin')).toMatchObject({code: 0})
    expect(proxy.asked).toEqual([])
    expect(forge.seen().length).toBeGreaterThan(0)
  })

  it.each([{address: 'proxy.corp', port: 3128}, {address: '10.1.2.3', port: 0}, {port: 3128}, 'x'])(
    'a proxy that is none is not taken: %j',
    (upstreamProxy) => {
      expect(tell({}, upstreamProxy)).not.toBe(0)
    },
  )

  it('without the proxy nothing is reached, though the server is there', async () => {
    await proxy.stop()
    const {code, stderr} = await gitAs('agent', 'fetch', 'origin')
    expect({code, stderr}).toMatchObject({code: 128, stderr: expect.stringContaining('cannot be reached')})
    expect(forge.seen()).toEqual([])
    expect(tell({address: forge.address, port: forge.port})).toBe(0)
    expect(await gitAs('agent', 'fetch', '-q', 'origin')).toMatchObject({code: 0})
  })
})
