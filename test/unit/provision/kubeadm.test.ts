import {mkdtempSync, rmSync, writeFileSync} from 'node:fs'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {afterAll, describe, expect, it} from '@jest/globals'
import {KubeadmCluster} from '../../../provision/cluster/kubeadm.js'
import type {NodeParts} from '../../../provision/machine/local-build.js'
import type {Machine} from '../../../provision/machine/machine.js'
import {networkOf} from '../../../provision/state/network.js'
import type {RemoteCommand} from '../../../provision/transport/transport.js'

const images = mkdtempSync(join(tmpdir(), 'cage-kubeadm-'))
afterAll(() => rmSync(images, {recursive: true, force: true}))
writeFileSync(
  join(images, 'references'),
  'cage.local/kubernetes/etcd:v3\ncage.local/kubernetes/pause:v1.36.3\n',
)

/** A machine with a cluster of one Kubernetes, started from the programs of another. */
function world(cluster: string, programs = cluster) {
  const asked: string[] = []
  const there = {cluster, programs, certificates: '0\n'}
  const answer = (words: string): string => {
    if (words === 'cluster.sh versions') return `${there.programs} ${there.cluster}`
    if (words === 'cluster.sh certificates') return there.certificates
    if (words.startsWith('sh -c nproc')) return '2\nMemTotal: 8000000 kB'
    if (words.startsWith('cluster.sh upgrade')) there.cluster = 'v1.36.3'
    return ''
  }
  const machine = {
    transport: {
      run: ({argv}: RemoteCommand) => {
        const words = argv.join(' ').replaceAll('/usr/local/lib/cage/', '')
        asked.push(words)
        return Promise.resolve({code: 0, stdout: Buffer.from(`${answer(words)}\n`), stderr: ''})
      },
      writeFile: (path: string, content: string) => {
        asked.push(`write ${path} ${/^kubernetesVersion.*$/m.exec(content)?.[0] ?? ''}`.trim())
        return Promise.resolve()
      },
    },
    facts: () => Promise.resolve({cgroup: 'v2', supervisor: 'runit'}),
    stop: () => Promise.resolve(void asked.push('stop')),
    start: () => {
      there.programs = 'v1.36.3'
      return Promise.resolve(void asked.push('start'))
    },
  } as unknown as Machine
  const parts: NodeParts = {layers: [], images, versions: {kubernetes: 'v1.36.3', etcd: 'v3.6.5'}}
  const sizes = {cpus: 2, memory: 4 * 1024 ** 3, disk: 0}
  const installer = new KubeadmCluster({
    machine,
    record: {
      ...{version: 1, id: 'shop-00000001', project: 'shop', repository: '/src/shop', driver: 'local'},
      ...{cluster: 'kubeadm', ...sizes, network: networkOf(200)},
    },
    clock: {now: () => 0, sleep: () => Promise.resolve()},
    kubernetes: 'v1.36.3',
    parts: () => {
      asked.push('parts')
      return Promise.resolve(parts)
    },
    seccomp: '{}',
  })
  const work = {signal: new AbortController().signal, detail: () => undefined}
  return {upkeep: installer.upkeep, asked, work, there}
}

describe('a cluster by kubeadm in the years after', () => {
  it.each([
    ['of another Kubernetes', 'v1.35.4', 'v1.35.4', true],
    ['of a newer one', 'v1.37.0', 'v1.37.0', true],
    ['on a machine that was started from another', 'v1.36.3', 'v1.35.4', true],
    ['as it should be', 'v1.36.3', 'v1.36.3', false],
    ['not there', '', 'v1.36.3', false],
    ['not there, on a machine that was started from another', '', 'v1.35.4', true],
  ])('%s: outdated or not', async (_, cluster, programs, outdated) => {
    expect(await world(cluster, programs).upkeep.outdated(new AbortController().signal)).toBe(outdated)
  })

  it('only has its machine started anew when the machine is what is older', async () => {
    const {upkeep, asked, work} = world('v1.36.3', 'v1.35.4')
    await upkeep.upgrade(work)
    expect(asked).toEqual(['cluster.sh versions', 'parts', 'stop', 'start'])
    expect(await upkeep.outdated(work.signal)).toBe(false)
  })

  it('is upgraded after all that is needed is there, and stands still as short as it can', async () => {
    const {upkeep, asked, work} = world('v1.35.4')
    expect(await upkeep.upgrade(work)).toBe('from Kubernetes v1.35.4 to v1.36.3')
    const order = [
      'parts',
      'stop',
      'start',
      'wait-for-containerd.sh',
      'images.sh missing',
      'write',
      'cluster.sh upgrade',
    ]
    const at = order.map((what) => asked.findIndex((words) => words.startsWith(what)))
    expect(at).toEqual([...at].sort((a, b) => a - b))
    expect(at).not.toContain(-1)
    expect(asked).toContain('write /etc/kubernetes/cage/kubeadm.yaml kubernetesVersion: v1.36.3')
    expect(asked.at(-1)).toBe(
      'cluster.sh upgrade cage.local/kubernetes/etcd:v3 cage.local/kubernetes/pause:v1.36.3',
    )
    expect(await upkeep.outdated(work.signal)).toBe(false)
  })

  it('goes on with an upgrade that was cut off after the machine had started anew', async () => {
    const {upkeep, asked, work} = world('v1.35.4', 'v1.36.3')
    await upkeep.upgrade(work)
    expect(asked).not.toContain('stop')
  })

  it.each(['v1.34.0', 'v1.37.0'])('is left as it is when it is of %s', async (version) => {
    const {upkeep, asked, work} = world(version)
    await expect(upkeep.upgrade(work)).rejects.toMatchObject({exitCode: 3})
    expect(asked).toEqual(['cluster.sh versions'])
  })

  it('keeps its certificates when the clock is what is wrong', async () => {
    const {upkeep, asked, work, there} = world('v1.36.3')
    there.certificates = '4000000000\n'
    await expect(upkeep.mend(work)).rejects.toMatchObject({code: 'CLOCK_WRONG'})
    expect(asked).toEqual(['cluster.sh certificates'])
  })
})
