import {PassThrough} from 'node:stream'
import {text} from 'node:stream/consumers'
import {describe, expect, it} from '@jest/globals'
import {machineVolumes} from '../../../provision/cluster/volumes.js'
import {namespaceTransport} from '../../../provision/transport/namespace.js'
import {FakeCluster} from '../../support/fake-cluster.js'
import {FakeRunner} from '../../support/fake-runner.js'

function world() {
  const runner = new FakeRunner()
  const objects = new FakeCluster()
  const transport = namespaceTransport(runner, () => Promise.resolve(42))
  const volumes = machineVolumes({
    transport,
    objects,
    node: 'cage-shop-00000001',
    namespace: 'shop-00000001',
    labels: {},
  })
  return {runner, objects, volumes}
}
const ref = {apiVersion: 'v1', kind: 'PersistentVolume', name: 'shop-00000001.home-login'}

describe('volumes on the machine', () => {
  it('are made with one command and one object', async () => {
    const {runner, objects, volumes} = world()
    await volumes.ensure('home-login', 10_737_418_240)
    expect(runner.lines).toHaveLength(1)
    expect(runner.lines[0]).toMatch(/volume\.sh ensure shop-00000001\.home-login 10737418240$/)
    expect(await objects.get(ref)).toMatchObject({
      spec: {claimRef: {namespace: 'shop-00000001', name: 'home-login'}, capacity: {storage: '10737418240'}},
    })
  })

  it('bind again after their claim was deleted and made again', async () => {
    const {objects, volumes} = world()
    await volumes.ensure('home-login', 10_737_418_240)
    const bound = await objects.get(ref)
    objects.put({...bound!, status: {phase: 'Released'}})
    await volumes.ensure('home-login', 10_737_418_240)
    expect(objects.calls).toContain('delete PersistentVolume shop-00000001.home-login')
    expect((await objects.get(ref))?.['status']).toBeUndefined()
  })

  it('leave nothing behind when they are removed, also twice', async () => {
    const {runner, objects, volumes} = world()
    await volumes.ensure('home-login', 10_737_418_240)
    await volumes.remove('home-login')
    await volumes.remove('home-login')
    expect(await objects.get(ref)).toBeUndefined()
    expect(runner.lines.at(-1)).toMatch(/volume\.sh remove shop-00000001\.home-login$/)
  })

  it('are read from the machine, or say why not', async () => {
    const {runner, volumes} = world()
    runner.answer = () => ({stdout: 'line\n'})
    const out = new PassThrough()
    await volumes.read('ledger-login', 'audit.jsonl', out)
    out.end()
    expect(await text(out)).toBe('line\n')
    expect(runner.lines.at(-1)).toMatch(/volume\.sh read shop-00000001\.ledger-login audit\.jsonl$/)
    runner.answer = () => ({code: 1, stderr: 'volume: the volume is not mounted\n'})
    await expect(volumes.read('ledger-login', 'audit.jsonl', new PassThrough())).rejects.toThrow(
      'not mounted',
    )
  })

  it('fail with what the machine said', async () => {
    const {runner, objects, volumes} = world()
    runner.answer = () => ({code: 1, stderr: 'volume: no free loop device\n'})
    await expect(volumes.ensure('home-login', 10_737_418_240)).rejects.toThrow('no free loop device')
    expect(await objects.get(ref)).toBeUndefined()
  })
})
