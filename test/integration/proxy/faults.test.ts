import {readdirSync, readFileSync, writeFileSync} from 'node:fs'
import {afterAll, afterEach, beforeAll, beforeEach, describe, expect, jest, test} from '@jest/globals'
import {egressRule} from '../../support/grants.js'
import {missing, TestNetwork} from './network.js'

/** What breaks around the sidecar: nothing gets out by it, and what it held is given back. */
const reason = await missing()
const describeHere = reason === undefined ? describe : describe.skip
jest.setTimeout(120_000)
if (reason !== undefined) test(`skipped: ${reason}`, () => undefined)

const POD_LIMIT_KIB = 512 * 1024
const DAY = 24 * 60 * 60 * 1000

let network: TestNetwork
beforeAll(async () => {
  if (reason !== undefined) return
  network = await TestNetwork.create()
  await network.fence()
  network.writeGrant({
    rules: [
      egressRule({host: 'allowed.test', methods: ['GET', 'POST']}),
      egressRule({id: 'hourly', host: 'limited.test', methods: ['GET', 'POST'], rate: {bytesUp: 100_000}}),
      ...['reset', 'silent', 'garbage'].map((name) => egressRule({host: `${name}.faulty.test`})),
    ],
  })
})
afterAll(async () => {
  if (reason === undefined) await network.destroy()
})
beforeEach(() => void network.seen())
afterEach(() => network.killSidecar())

const allowed = () => network.curl('https://allowed.test/after')
const pid = () => String(network.sidecarPid)
const files = () => readdirSync(`/proc/${pid()}/fd`).length
const peakKiB = () => Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid()}/status`, 'utf8'))?.[1])
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

/** Open files once nothing runs any more, and connections kept for the next request have had their time. */
async function settled(before: number): Promise<number> {
  for (let attempt = 0; attempt < 140 && files() > before; attempt++) await pause(250)
  return files()
}

/** Runs in the pod as the agent; `tls(host)` and `plain()` open connections to the proxy port. */
function program(body: string): Promise<string> {
  const text = `
    const net = require('net'), tls = require('tls'), fs = require('fs')
    const ca = fs.readFileSync(process.env.CAGE_CA)
    const pause = (ms) => new Promise((done) => setTimeout(done, ms))
    const once = (socket, event) => new Promise((done) => { socket.once(event, done); socket.once('close', done); socket.once('error', done) })
    const plain = async () => { const socket = net.connect(3128, '127.0.0.1'); socket.on('error', () => {}); await once(socket, 'connect'); return socket }
    const tunnel = async (host) => { const socket = await plain(); socket.write('CONNECT ' + host + ':443 HTTP/1.1\\r\\nhost: ' + host + ':443\\r\\n\\r\\n'); await once(socket, 'data'); return socket }
    const secure = async (host) => { const socket = tls.connect({socket: await tunnel(host), servername: host, ca}); socket.on('error', () => {}); await once(socket, 'secureConnect'); return socket }
    const post = (length) => 'POST /p HTTP/1.1\\r\\nhost: allowed.test\\r\\ncontent-length: ' + length + '\\r\\n\\r\\n'
    void (async () => { ${body}; process.exit(0) })()`
  return network
    .agent([process.execPath, '-e', text], {timeoutMs: 60_000})
    .then(({stdout, stderr}) => stdout.toString() + stderr)
}

describeHere('hosts that break off', () => {
  test.each([
    ['a reset in the handshake', 'https://reset.faulty.test/', 502],
    ['the end in the handshake', 'https://silent.faulty.test/', 502],
    ['an answer that is no TLS', 'https://garbage.faulty.test/', 502],
    ['the end behind the request', 'https://allowed.test/reset', 502],
    ['the end in the headers', 'https://allowed.test/half-head', 502],
    ['the end in the body', 'https://allowed.test/cut', 200],
  ])('%s', async (_name, url, status) => {
    await network.startSidecar()
    await allowed()
    const before = files()
    const answers = await Promise.all(Array.from({length: 5}, () => network.curl(url)))
    expect(answers.map((answer) => answer.status)).toEqual(answers.map(() => status))
    // A body that was cut never looks whole.
    if (status === 200) expect(answers.map(({code}) => code)).not.toContain(0)
    else expect(answers.map((answer) => answer.reason)).toEqual(answers.map(() => 'upstream_unreachable'))
    expect((await allowed()).status).toBe(200)
    expect(await settled(before)).toBeLessThanOrEqual(before)
    const records = (await network.audit()).slice(-6, -1)
    expect(records.map(({decision}) => decision)).toEqual(records.map(() => 'allow'))
  })
})

describeHere('an agent that breaks off', () => {
  test.each([
    ['once connected', 'const s = await plain()'],
    ['in a CONNECT', "const s = await plain(); s.write('CONNECT allo')"],
    ['behind a CONNECT', "const s = await tunnel('allowed.test')"],
    [
      'in the handshake',
      "const s = await tunnel('allowed.test'); s.write(Buffer.from('16030100ff0100', 'hex'))",
    ],
    ['in the headers', "const s = await secure('allowed.test'); s.write('GET /x HTTP/1.1\\r\\nhos')"],
    [
      'in the body',
      "const s = await secure('allowed.test'); s.write(post(5000) + 'x'.repeat(100)); await pause(50)",
    ],
    [
      'in a large body',
      "const s = await secure('allowed.test'); s.write(post(9e6) + 'x'.repeat(4e6)); await pause(50)",
    ],
    [
      'before the answer',
      "const s = await secure('allowed.test'); s.write('GET /sse HTTP/1.1\\r\\nhost: allowed.test\\r\\n\\r\\n')",
    ],
    [
      'in the answer',
      "const s = await secure('allowed.test'); s.write('GET /large HTTP/1.1\\r\\nhost: allowed.test\\r\\n\\r\\n'); await once(s, 'data')",
    ],
  ])('%s leaves nothing open', async (_name, script) => {
    await network.startSidecar()
    await allowed()
    const before = files()
    for (const end of ['destroy', 'resetAndDestroy'])
      await program(
        `await Promise.all(Array.from({length: 20}, async () => { ${script}; (s.${end} ?? s.destroy).call(s) }))`,
      )
    expect((await allowed()).status).toBe(200)
    expect(await settled(before + 1)).toBeLessThanOrEqual(before + 1)
  })
})

describeHere('resources', () => {
  test('without file descriptors it refuses, lets nothing else out, and is back when there are some', async () => {
    await network.startSidecar(['prlimit', '--nofile=60:60'])
    expect((await allowed()).status).toBe(200)
    const held = program(`
      const all = await Promise.all(Array.from({length: 120}, () => Promise.race([secure('allowed.test'), pause(1500)])))
      await pause(4000)`)
    await pause(2500)
    const meanwhile = await Promise.all([allowed(), network.curl('https://canary.test/')])
    await held
    expect(meanwhile.map(({status}) => status)).not.toContain(undefined)
    expect(network.seen().filter(({place}) => place !== 'public' && place !== 'resolver')).toEqual([])
    for (let attempt = 0; attempt < 20 && (await allowed()).status !== 200; attempt++) await pause(500)
    expect((await allowed()).status).toBe(200)
    expect(network.sidecarErrors).toBe('')
  })

  test('many large bodies at once stay within the memory of the container', async () => {
    await network.startSidecar()
    const sent = await program(`
      const one = async () => { const s = await secure('allowed.test'); s.write(post(1048000)); s.write(Buffer.alloc(1048000, 'x')); const d = await once(s, 'data'); s.destroy(); return String(d).slice(9, 12) }
      console.log((await Promise.all(Array.from({length: 200}, one))).join(' '))`)
    const statuses = sent.trim().split(' ')
    expect(statuses.filter((status) => status !== '200' && status !== '503')).toEqual([])
    expect(statuses.filter((status) => status === '200').length).toBeGreaterThan(100)
    expect(peakKiB()).toBeLessThan(POD_LIMIT_KIB)
    expect((await allowed()).status).toBe(200)
  })

  test('stopped, nothing leaves; going on, it goes on', async () => {
    await network.startSidecar()
    expect((await allowed()).status).toBe(200)
    network.seen()
    await pause(500)
    process.kill(network.sidecarPid, 'SIGSTOP')
    const packets = await network.freshPackets()
    expect((await network.curl('-m', '2', 'https://allowed.test/stopped')).status).toBe(0)
    expect([network.seen(), (await network.freshPackets()) - packets]).toEqual([[], 0])
    process.kill(network.sidecarPid, 'SIGCONT')
    expect((await allowed()).status).toBe(200)
  })
})

describeHere('a clock that jumps', () => {
  const jump = async (ms: number) => {
    writeFileSync(network.path('clock'), String(ms))
    process.kill(network.sidecarPid, 'SIGUSR2')
    await pause(100)
  }

  test.each([400 * DAY, -400 * DAY])(
    'by %d ms and back: certificates follow, and the chain of records holds',
    async (ms) => {
      await network.startSidecar()
      expect((await allowed()).status).toBe(200)
      await jump(ms)
      // The agent's own clock is right: what the sidecar signs now is not valid for it.
      expect((await allowed()).status).toBe(0)
      expect((await network.curl('-k', '-X', 'DELETE', 'https://allowed.test/jumped')).reason).toBe(
        'method_not_allowed',
      )
      await jump(0)
      expect((await allowed()).status).toBe(200)
      expect(network.seen().filter(({url}) => url === '/jumped')).toEqual([])
    },
  )

  test('neither gives nor takes an hour of bytes for good', async () => {
    await network.startSidecar()
    const send = async (bytes: number) =>
      (await network.curl('-k', '-d', 'x'.repeat(bytes), 'https://limited.test/up')).status
    await jump(400 * DAY)
    expect(await send(60_000)).toBe(200)
    await jump(0)
    expect([await send(60_000), await send(10)]).toEqual([429, 429])
    await jump(61 * 60 * 1000)
    expect(await send(60_000)).toBe(200)
  })
})
