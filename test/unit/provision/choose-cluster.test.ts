import {describe, expect, it} from '@jest/globals'
import {chooseCluster} from '../../../provision/cluster/choose-cluster.js'
import {requireOwnSystem} from '../../../provision/cluster/microk8s.js'

const released = (architecture: string, track: string, risk = 'stable') => ({
  channel: {architecture, track, risk},
})
const store =
  (...channels: unknown[]) =>
  () =>
    Promise.resolve({'channel-map': channels})
const silent = () => Promise.reject(new Error('fetch failed'))

describe('cluster `auto`', () => {
  it.each(['lima', 'vagrant'] as const)(
    'is microk8s on %s where the store has its channel',
    async (driver) => {
      const has = store(released('arm64', '1.35'), released('amd64', '1.36'))
      expect(await chooseCluster(driver, 'x64', has)).toEqual({kind: 'microk8s', why: ''})
    },
  )

  it.each<[string, () => Promise<unknown>, string]>([
    ['the store is silent', silent, 'does not answer'],
    [
      'the channel is not there',
      store(released('amd64', '1.35'), released('amd64', '1.36', 'edge')),
      '1.36/stable',
    ],
    ['the channel is there for another processor', store(released('arm64', '1.36')), '1.36/stable'],
    ['the store says something else', () => Promise.resolve({error: 'maintenance'}), '1.36/stable'],
    ['the store says nothing', () => Promise.resolve(null), '1.36/stable'],
  ])('is kubeadm, and says why, when %s', async (_, ask, why) => {
    const choice = await chooseCluster('lima', 'x64', ask)
    expect(choice.kind).toBe('kubeadm')
    expect(choice.why).toContain(why)
  })

  it.each(['local', 'ssh'] as const)('is kubeadm on %s, without asking anybody', async (driver) => {
    const ask = () => Promise.reject(new Error('nobody may be asked'))
    expect(await chooseCluster(driver, 'x64', ask)).toEqual({kind: 'kubeadm', why: ''})
  })

  it('refuses microk8s on a system that is somebody’s, with what to do', () => {
    for (const driver of ['local', 'ssh'] as const) {
      expect(() => requireOwnSystem(driver)).toThrow(
        expect.objectContaining({
          code: 'MACHINE_DRIVER',
          exitCode: 3,
          hints: [expect.stringContaining('kubeadm')],
        }),
      )
    }
    expect(() => requireOwnSystem('lima')).not.toThrow()
  })
})
