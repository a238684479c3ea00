import {setMaxListeners} from 'node:events'
import {mkdir, mkdtemp, rm, writeFile} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join, resolve} from 'node:path'
import {afterEach, beforeEach, describe, expect} from '@jest/globals'
import {parse} from 'yaml'
import {CageError} from '../../core/errors.js'
import {processRunner, runOk} from '../../core/process.js'
import type {ClusterInstaller} from '../../provision/cluster/cluster.js'
import {clusterKinds} from '../../provision/cluster/kinds.js'
import {importImage} from '../../provision/cluster/kubeadm.js'
import {applyFirewall, firewallIs} from '../../provision/firewall.js'
import {bringScripts} from '../../provision/guest-scripts.js'
import type {Machine} from '../../provision/machine/machine.js'
import {noNamespaces, type PretendedMachine} from './pretended-machine.js'
import {itUnless} from './when.js'

export const packageRoot = resolve('.')
export const clusterWork = {signal: new AbortController().signal, detail: () => undefined}
setMaxListeners(0, clusterWork.signal)

export interface ClusterUnderTest {
  world: PretendedMachine
  machine: Machine
  cluster: ClusterInstaller
}

export interface ClusterContract {
  kind: ClusterInstaller['kind']
  make: (parts: {images: string}) => Promise<ClusterUnderTest>
  /** the address of the machine on which its API server listens */
  apiAddress: string
  /** the command that makes the cluster, as the pretended programs note it */
  installs: RegExp
  /** where an installation is cut off once */
  cutOff: readonly string[]
  /** what goes wrong → the code of the error that says so */
  failures: Readonly<Record<string, string>>
}

/** What every kind of cluster keeps, see the MUST words of `ClusterInstaller`; its programs are pretended, cage's scripts run. */
export function clusterContract(contract: ClusterContract): void {
  let scratch: string
  let it_: ClusterUnderTest
  const test = (name: string, body: () => Promise<void>) => itUnless(noNamespaces, name, body, 60_000)
  const each = (name: string, all: readonly string[], body: (one: string) => Promise<void>) => {
    for (const one of all) test(name.replace('%s', one), () => body(one))
  }
  const {signal} = clusterWork
  const install = async () => {
    await it_.cluster.install(clusterWork)
    return it_.cluster.state()
  }
  const installed = async () => {
    await it_.machine.create(clusterWork)
    await it_.machine.start(clusterWork)
    expect(await install()).toBe('ready')
  }
  const installations = async () => (await it_.world.calls()).filter((call) => contract.installs.test(call))
  const said = async (argv: readonly [string, ...string[]]) =>
    (await it_.machine.transport.run({argv})).stdout.toString().trim()
  /** what tells one cluster from another that was made in its place */
  const identity = async () => {
    const {clusters} = parse(await it_.cluster.kubeconfig()) as {
      clusters: {cluster: {'certificate-authority-data': string}}[]
    }
    return clusters[0]?.cluster['certificate-authority-data']
  }

  describe(`the contract of a cluster: ${contract.kind}`, () => {
    beforeEach(async () => {
      if (noNamespaces !== undefined) return
      scratch = await mkdtemp(join(tmpdir(), 'cage-cluster-'))
      it_ = await contract.make({images: await images(scratch)})
    })
    afterEach(async () => {
      if (noNamespaces !== undefined) return
      await it_.world.remove()
      await rm(scratch, {recursive: true, force: true})
    })

    test('goes from absent to ready', async () => {
      await it_.machine.create(clusterWork)
      await it_.machine.start(clusterWork)
      expect(await it_.cluster.state()).toBe('absent')
      expect(await install()).toBe('ready')
    })

    test('is made once', async () => {
      await installed()
      const first = await identity()
      await install()
      expect(await installations()).toHaveLength(1)
      expect(await identity()).toBe(first)
    })

    test('waits while it comes up slowly', async () => {
      await it_.machine.create(clusterWork)
      await it_.machine.start(clusterWork)
      await it_.world.wrong('api', 2)
      await it_.cluster.install(clusterWork)
      let looks = 0
      while ((await it_.cluster.state()) !== 'ready') expect(looks++).toBeLessThan(5)
    })

    test('has a kubeconfig in the names of the project', async () => {
      await installed()
      expect(parse(await it_.cluster.kubeconfig())).toMatchObject({
        'current-context': 'shop-00000001',
        clusters: [{name: 'shop-00000001', cluster: {server: expect.stringMatching(/^https:/)}}],
        users: [{name: 'shop-00000001-admin', user: {'client-certificate-data': expect.any(String)}}],
        contexts: [{name: 'shop-00000001', context: {cluster: 'shop-00000001', user: 'shop-00000001-admin'}}],
      })
    })

    test('is reached through a tunnel to where its API server listens', async () => {
      await installed()
      expect(await it_.machine.api()).toEqual({host: '127.0.0.1', port: 40_001})
      const {port} = clusterKinds[contract.kind].api
      expect(it_.world.tunnels).toEqual([{address: contract.apiAddress, port}])
    })

    test('takes images without a registry, and keeps them', async () => {
      await installed()
      const reference = 'cage.local/agent:0a1b'
      await archive(scratch, 'agent', reference)
      await importImage(it_.machine, reference, join(scratch, 'agent.tar'), signal)
      await importImage(it_.machine, reference, join(scratch, 'agent.tar'), signal)
      const check = await said(['ctr', '--namespace', 'k8s.io', 'images', 'check'])
      expect(check).toMatch(/^cage\.local\/agent:0a1b .*\scomplete\s.*\strue$/m)
      expect(await it_.world.read('var/lib/pretend/images')).toMatch(
        /^cage\.local\/agent:0a1b io\.cri-containerd\.pinned=pinned$/m,
      )
      await it_.world.wrong('import')
      await expect(
        importImage(it_.machine, reference, join(scratch, 'agent.tar'), signal),
      ).rejects.toMatchObject({code: 'IMAGE_IMPORT', message: expect.stringContaining('no space left')})
    })

    test('stands on a machine that is closed for pods until the firewall is applied', async () => {
      await installed()
      expect(await said(['nft', 'list', 'chain', 'inet', 'cage', 'forward'])).toContain('policy drop')
      const settings = {
        resolver: '192.0.2.53',
        computer: ['192.0.2.7'],
        publicPorts: [{protocol: 'tcp', port: 443}] as const,
        openings: [],
      }
      await applyFirewall(it_.machine.transport, settings)
      expect(await firewallIs(it_.machine.transport, settings)).toBe(true)
      // What starts again is as it was.
      await it_.machine.start(clusterWork)
      expect(await firewallIs(it_.machine.transport, settings)).toBe(true)
    })

    each('comes back, the same, after %s', ['a stop', 'a power cut'], async (how) => {
      await installed()
      const before = await identity()
      if (how === 'a stop') await it_.machine.stop(clusterWork)
      else await it_.world.powerOff()
      expect(await it_.machine.state()).toBe('stopped')
      await it_.machine.start(clusterWork)
      expect(await said(['nft', 'list', 'chain', 'inet', 'cage', 'forward'])).toContain('policy drop')
      await it_.cluster.install(clusterWork)
      expect(await it_.cluster.state()).toBe('ready')
      expect(await identity()).toBe(before)
      expect(await installations()).toHaveLength(1)
    })

    test('says absent, not broken, of a machine in which nothing was installed', async () => {
      await it_.machine.create(clusterWork)
      await it_.machine.start(clusterWork)
      await bringScripts({packageRoot, runner: processRunner, transport: it_.machine.transport, signal})
      expect(await it_.cluster.state()).toBe('absent')
    })

    each('goes on after an installation that was cut off at %s', contract.cutOff, async (where) => {
      await it_.machine.create(clusterWork)
      await it_.machine.start(clusterWork)
      await it_.world.wrong(where, 1)
      await expect(it_.cluster.install(clusterWork)).rejects.toBeInstanceOf(CageError)
      expect(await it_.cluster.state()).toBe('absent')
      await it_.world.mended()
      expect(await install()).toBe('ready')
    })

    each('says what is wrong and what to do: %s', Object.keys(contract.failures), async (what) => {
      await it_.machine.create(clusterWork)
      await it_.machine.start(clusterWork)
      await it_.world.wrong(what)
      const failure: unknown = await it_.cluster.install(clusterWork).catch((error: unknown) => error)
      expect(failure).toMatchObject({code: contract.failures[what]})
      expect((failure as CageError).message).not.toMatch(/undefined|^\s*$/)
      expect(await it_.cluster.state()).toBe('absent')
    })

    test('does not begin when it was interrupted before', async () => {
      await it_.machine.create(clusterWork)
      await it_.machine.start(clusterWork)
      const cut = new AbortController()
      cut.abort()
      await expect(it_.cluster.install({...clusterWork, signal: cut.signal})).rejects.toThrow()
      expect(await installations()).toHaveLength(0)
      expect(await install()).toBe('ready')
    })
  })
}

async function images(scratch: string): Promise<string> {
  const directory = join(scratch, 'images')
  await mkdir(directory)
  const references = ['kube-apiserver', 'etcd', 'pause'].map(
    (name) => `cage.local/kubernetes/${name}:v1.36.3`,
  )
  await writeFile(join(directory, 'references'), `${references.join('\n')}\n`)
  for (const reference of references) {
    const name = /\/([^/:]+):/.exec(reference)?.[1] ?? ''
    await archive(directory, name, reference)
  }
  return directory
}

async function archive(directory: string, name: string, reference: string): Promise<void> {
  const manifest = [{Config: 'config.json', RepoTags: [reference], Layers: []}]
  await writeFile(join(directory, 'manifest.json'), JSON.stringify(manifest))
  await runOk(processRunner, {
    argv: ['tar', '-C', directory, '-cf', join(directory, `${name}.tar`), 'manifest.json'],
  })
}
