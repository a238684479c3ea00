import {spawn, spawnSync, type ChildProcess} from 'node:child_process'
import {readFile} from 'node:fs/promises'
import {afterEach, describe, expect} from '@jest/globals'
import {processRunner} from '../../../core/process.js'
import {guestReach} from '../../../provision/machine/guest-reach.js'
import {computerAddresses} from '../../../provision/machine/local.js'
import {namespaceTransport} from '../../../provision/transport/namespace.js'
import {itUnless} from '../../support/when.js'

const obstacle =
  process.getuid?.() !== 0
    ? 'namespaces need root'
    : spawnSync('slirp4netns', ['--version']).status !== 0
      ? 'slirp4netns is not installed'
      : undefined
const own = computerAddresses()
const running: ChildProcess[] = []

async function firstLine(child: ChildProcess): Promise<string> {
  running.push(child)
  return new Promise((resolve) => child.stdout?.once('data', (chunk: Buffer) => resolve(chunk.toString())))
}

/** A namespace as a guest: alone, or behind a user-mode network as QEMU's. */
async function guest(network?: readonly string[]) {
  const namespaces = ['--net', '--mount', '--uts', '--ipc', '--pid', '--cgroup', '--mount-proc']
  const child = spawn('unshare', [
    ...namespaces,
    '--fork',
    '--kill-child',
    'sh',
    '-c',
    'echo ready; sleep 120',
  ])
  await firstLine(child)
  const parent = String(child.pid)
  const inside =
    (await readFile(`/proc/${parent}/task/${parent}/children`, 'utf8')).trim().split(' ')[0] ?? ''
  if (network) {
    const ready = ['--ready-fd=1', '--configure', '--mtu=1500', ...network, inside, 'tap0']
    await firstLine(spawn('slirp4netns', ready, {stdio: ['ignore', 'pipe', 'ignore']}))
  }
  return namespaceTransport(processRunner, () => Promise.resolve(Number(inside)))
}

describe('what root of a guest reaches', () => {
  const signal = AbortSignal.timeout(60_000)
  const test = (name: string, body: () => Promise<void>) => itUnless(obstacle, name, body)
  const network = own.map((address) => ({address, where: 'network'}))
  afterEach(() => {
    for (const child of running.splice(0)) child.kill('SIGKILL')
  })

  test('is found where the network shows the computer’s loopback', async () => {
    const reach = await guestReach(await guest([]), own, signal)
    expect(reach).toEqual([{address: '10.0.2.2', where: 'loopback'}, ...network])
  })

  test('leaves out a loopback that the network keeps to itself', async () => {
    const reach = await guestReach(await guest(['--disable-host-loopback']), own, signal)
    expect(reach).toEqual(network)
  })

  test('is nothing without a way out', async () => {
    expect(await guestReach(await guest(), own, signal)).toEqual([])
  })
})
