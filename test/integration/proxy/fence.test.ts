import {createInterface} from 'node:readline'
import {fileURLToPath} from 'node:url'
import {afterAll, beforeAll, describe, expect, test} from '@jest/globals'
import {processRunner} from '../../../core/process.js'
import {egressRule} from '../../support/grants.js'
import {world} from './addresses.js'
import {missing, TestNetwork} from './network.js'

const reason = await missing()
const battery = fileURLToPath(new URL('battery.py', import.meta.url))
const describeHere = reason === undefined ? describe : describe.skip
const places = [
  world.canary,
  world.gateway,
  world.resolver,
  world.metadata,
  world.public6,
  world.gateway6,
  'pod0',
]

let network: TestNetwork

/** Packets that left the pod, per attempt. */
async function attempts(names: string[] = []): Promise<Map<string, {packets: number; said: string}>> {
  const running = network.startAgent(['python3', battery, ...places, ...names])
  const results = new Map<string, {packets: number; said: string}>()
  let before = await network.packets()
  const judge = async (line: string) => {
    const {name, said} = JSON.parse(line) as {name: string; said: string}
    // What a dying socket still sends belongs to the attempt.
    await new Promise((resolve) => setTimeout(resolve, 60))
    const after = await network.packets()
    results.set(name, {packets: after - before, said})
    before = after
    running.stdin.write('\n')
  }
  createInterface({input: running.stdout}).on('line', (line) => void judge(line))
  await running.exit
  return results
}

const leaks = (results: Map<string, {packets: number; said: string}>) =>
  [...results].filter(([, {packets}]) => packets > 0).map(([name]) => name)

if (reason !== undefined) test(`skipped: ${reason}`, () => undefined)

describeHere('without the fence', () => {
  beforeAll(async () => {
    network = await TestNetwork.create()
  }, 60_000)

  test('the probe refuses the pod', async () => {
    network.writeGrant()
    await network.startSidecar()
    const {code, stdout} = await network.agent(
      [
        process.execPath,
        network.path('program.mjs'),
        'probe',
        network.directory,
        `${world.gateway}:9999`,
        `${world.dispatcher}:443`,
      ],
      {timeoutMs: 90_000},
    )
    expect(code).toBe(1)
    expect(stdout.toString()).toMatch(/FAIL {2}tcp 10\.99\.0\.1:9999 does not answer directly: it answers/)
    expect(stdout.toString()).toMatch(
      /FAIL {2}tcp 10\.96\.0\.7:443 does not answer directly: something other than the sidecar speaks TLS/,
    )
    expect(stdout.toString()).toMatch(/FAIL {2}udp does not leave/)
  }, 120_000)

  test('the same attempts do leave: the control of what follows', async () => {
    const found = leaks(await attempts())
    expect(found).toEqual(
      expect.arrayContaining([
        'tcp-443',
        'tcp-22',
        'udp-9999',
        'quic',
        'dns-to-public',
        'ping',
        'tcp6-9999',
        'udp-lite',
        'multicast',
        'broadcast',
        'join-group',
      ]),
    )
    expect(found.length).toBeGreaterThan(25)
  }, 120_000)

  afterAll(() => network.destroy())
})

describeHere('with the fence', () => {
  beforeAll(async () => {
    network = await TestNetwork.create()
    const {code, stdout} = await network.fence()
    expect([code, stdout.toString()]).toEqual([0, expect.stringContaining('fence: closed')])
    network.writeGrant({
      rules: [egressRule({host: 'allowed.test'}), egressRule({id: 'wild', host: '*.wild.test'})],
    })
    await network.startSidecar()
  }, 60_000)
  afterAll(() => network.destroy())

  test('nothing leaves, by any of these ways (NET)', async () => {
    const results = await attempts()
    expect(results.size).toBeGreaterThanOrEqual(43)
    expect(leaks(results)).toEqual([])
  }, 120_000)

  test('the one way out works', async () => {
    expect(await network.curl('https://allowed.test/x')).toMatchObject({code: 0, status: 200})
    expect(network.seen().filter(({place}) => place === 'public')).toHaveLength(1)
  })

  test('the probe accepts the pod, but for what only seccomp can close', async () => {
    const {stdout} = await network.agent([
      process.execPath,
      network.path('program.mjs'),
      'probe',
      network.directory,
      `${world.gateway}:9999`,
      `${world.dispatcher}:443`,
      `${world.metadata}:80`,
    ])
    const failed = stdout
      .toString()
      .split('\n')
      .filter((line) => line.startsWith('FAIL') && !/vsock|io_uring/.test(line))
    expect(failed).toEqual([])
    expect(stdout.toString()).toContain('ok    https://git.cage.internal/ready answers through the sidecar')
  })

  test('a tunnel of names stays inside: 300 queries, no packet (NET-1)', async () => {
    const before = await network.freshPackets()
    const script = `
      import socket, struct
      s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(1)
      codes = set()
      for i in range(300):
          name = 'x' * 50 + '%d.' % i + ['evil.test', 'deep.deeper.deepest.more.wild.test'][i % 2]
          q = struct.pack('!HHHHHH', i, 0x100, 1, 0, 0, 0) + b''.join(bytes([len(p)]) + p.encode() for p in name.split('.')) + b'\\0' + struct.pack('!HH', [1, 16, 28, 15, 65][i % 5], 1)
          s.sendto(q, ('8.8.8.8', 53)); codes.add(s.recv(600)[3] & 15)
      print(codes)`.replace(/^ {6}/gm, '')
    const {stdout, stderr} = await network.agent(['python3', '-c', script])
    expect(stderr).toBe('')
    expect(stdout.toString().trim()).toBe('{3}')
    expect(await network.freshPackets()).toBe(before)
  })

  test('the agent reaches neither health nor control of the sidecar, the kubelet does', async () => {
    for (const host of ['127.0.0.1', world.pod, '[::1]']) {
      expect((await network.curl(`http://${host}:15090/metrics`)).code).not.toBe(0)
    }
    const outside = await processRunner.run({
      argv: [
        'ip',
        'netns',
        'exec',
        network.worldName,
        'curl',
        '-sS',
        '-m',
        '5',
        `http://${world.pod}:15090/readyz`,
      ],
    })
    expect(outside.stdout.toString()).toBe('ok\n')
    const socket = await network.agent([
      process.execPath,
      '-e',
      `require('net').connect('${network.path('state/control.sock')}').on('error', (e) => console.log(e.code))`,
    ])
    expect(socket.stdout.toString()).toBe('EACCES\n')
  })

  test('nobody outside reaches a server of the agent, the agent itself does', async () => {
    const server = network.startAgent([
      process.execPath,
      '-e',
      `require('http').createServer((q, r) => r.end('dev')).listen(8000, () => console.log('up'))`,
    ])
    await new Promise((resolve) => server.stdout.once('data', resolve))
    for (const host of ['127.0.0.1', world.pod])
      expect((await network.curl(`http://${host}:8000/`)).body).toBe('dev')
    const outside = await processRunner.run({
      argv: ['ip', 'netns', 'exec', network.worldName, 'curl', '-sS', '-m', '1', `http://${world.pod}:8000/`],
    })
    expect(outside.code).not.toBe(0)
    server.kill('SIGKILL')
    await server.exit
  })

  test('the sidecar itself reaches neither private nor metadata addresses, and no other resolver', async () => {
    const asSidecar = (host: string, port: number) =>
      processRunner.run({
        argv: [
          'ip',
          'netns',
          'exec',
          network.podName,
          'setpriv',
          '--reuid',
          '64000',
          '--regid',
          '64000',
          '--clear-groups',
          '--bounding-set',
          '-all',
          'curl',
          '-sS',
          '-m',
          '2',
          '-k',
          `https://${host}:${port}/`,
        ],
      })
    expect((await asSidecar(world.publicHost, 443)).code).not.toBe(7)
    for (const [host, port] of [
      [world.privateHost, 8443],
      [world.metadata, 443],
      [world.gateway, 9999],
      [world.dispatcher, 80],
    ] as const) {
      expect((await asSidecar(host, port)).code).toBe(7)
    }
    expect(
      network.seen().filter(({place}) => place === 'private' || place === 'metadata' || place === 'gateway'),
    ).toEqual([])
  })

  test('killed, it opens nothing and cannot be impersonated; restarted, the same agent goes on (POD-11)', async () => {
    const client = network.startAgent([
      process.execPath,
      '-e',
      `const {request} = require('https'); const fs = require('fs'); const dns = require('dns')
       let address
       require('readline').createInterface({input: process.stdin}).on('line', (line) => {
         const options = {host: line === 'cached' ? address : 'allowed.test', servername: 'allowed.test', path: '/x', headers: {host: 'allowed.test'}, ca, agent: false, timeout: 3000}
         const asked = request(options, (r) => { r.resume(); r.on('end', () => console.log(r.statusCode)) })
         asked.on('timeout', () => asked.destroy(new Error('timeout')))
         asked.on('error', (e) => console.log(e.code || e.message)); asked.end()
       })
       const ca = fs.readFileSync(process.env.CAGE_CA)
       dns.lookup('allowed.test', (e, a) => { address = a; console.log(a) })`,
    ])
    const lines = createInterface({input: client.stdout})[Symbol.asyncIterator]()
    const next = async () => (await lines.next()).value as string
    const ask = async (what: string) => {
      client.stdin.write(`${what}\n`)
      return next()
    }
    const address = await next()
    expect(address).toMatch(/^198\.18\./)
    expect(await ask('name')).toBe('200')
    await network.killSidecar()
    const before = await network.packets()
    expect(await ask('name')).not.toBe('200')
    expect(await ask('cached')).not.toBe('200')
    expect(
      leaks(
        await attempts(['tcp-443', 'tcp-22', 'udp-9999', 'dns-to-public', 'dns-to-resolver', 'tcp6-443']),
      ),
    ).toEqual([])

    const squatter = network.startAgent([
      'python3',
      '-c',
      `
import socket, threading
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(('0.0.0.0', 15443)); s.listen(); print('up', flush=True)
while True:
    c, _ = s.accept(); c.sendall(b'impostor')`,
    ])
    await new Promise((resolve) => squatter.stdout.once('data', resolve))
    expect(await ask('cached')).toBe('timeout')
    squatter.kill('SIGKILL')
    await squatter.exit
    expect(await network.packets()).toBe(before)

    await network.startSidecar()
    expect(await ask('cached')).toBe('200')
    expect(await ask('name')).toBe('200')
    client.kill('SIGKILL')
    await client.exit
  }, 60_000)
})
