import {resolve} from 'node:path'
import {describe, expect, it} from '@jest/globals'
import {demandUpgrade, kubernetesVersion} from '../../../provision/cluster/kubernetes-version.js'

describe('the Kubernetes of a cluster', () => {
  it('is the one that is pinned in this package', async () => {
    expect(await kubernetesVersion(resolve('.'))).toMatch(/^v1\.\d+\.\d+$/)
  })

  it.each([
    ['v1.35.4', 'v1.36.3'],
    ['v1.36.1', 'v1.36.3'],
    ['v1.36.3', 'v1.37.0'],
    ['v1.36.3', 'v1.36.3'],
  ])('goes from %s to %s', (from, to) => {
    expect(() => demandUpgrade(from, to)).not.toThrow()
  })

  it.each([
    ['v1.34.9', 'v1.36.3', 'KUBERNETES_JUMP', 'v1.35'],
    ['v1.35.9', 'v2.0.0', 'KUBERNETES_JUMP', 'v1.36'],
    ['v1.36.3', 'v1.36.2', 'KUBERNETES_DOWNGRADE', 'newer one'],
    ['v1.37.0', 'v1.36.9', 'KUBERNETES_DOWNGRADE', 'newer one'],
    ['', 'v1.36.3', 'KUBERNETES_JUMP', '/etc/kubernetes/cage'],
    ['v1.36', 'v1.36.3', 'KUBERNETES_JUMP', '/etc/kubernetes/cage'],
  ])('does not go from %j to %s: %s', (from, to, code, hint) => {
    const refused = {code, exitCode: 3, hints: [expect.stringContaining(hint), expect.any(String)]}
    expect(() => demandUpgrade(from, to)).toThrow(expect.objectContaining(refused))
  })
})
