import {describe, expect, test} from '@jest/globals'
import {fenceEntries, upstreamWays} from '../../../cli/upstream-ways.js'
import type {OperatorFile} from '../../../policy/file-types.js'
import {settingsOf} from '../../support/settings.js'

const ways = (upstream: string, network: OperatorFile['network']) => {
  const found = upstreamWays(settingsOf({repository: {upstream}}, network ? {network} : {}), ['10.0.2.3'])
  return {fence: fenceEntries(found), publicPorts: found.publicPorts}
}
const elsewhere = 'https://git.example.com/org/app.git'
const hosts = {'git.example.com': {address: '10.1.2.3', port: 3000}}
const upstreamProxy = 'http://10.9.9.9:3128'

describe('what the dispatcher’s gate reaches', () => {
  test.each([
    ['nothing for a hosted repository', 'hosted', undefined, [], []],
    ['nothing for it, with a proxy too', 'hosted', {upstreamProxy}, [], []],
    ['a resolver and HTTPS for a name', elsewhere, undefined, ['10.0.2.3/udp/53', '10.0.2.3/tcp/53'], [443]],
    ['the exact way alone', elsewhere, {hosts}, ['10.1.2.3/tcp/3000'], []],
    ['the proxy alone, which finds names', elsewhere, {upstreamProxy}, ['10.9.9.9/tcp/3128'], []],
    ['the exact way and no proxy', elsewhere, {upstreamProxy, hosts}, ['10.1.2.3/tcp/3000'], []],
    ['the proxy for GitHub', 'https://github.com/org/app', {upstreamProxy}, ['10.9.9.9/tcp/3128'], []],
  ])('%s', (_, upstream, network, fence, publicPorts) => {
    expect(ways(upstream, network)).toEqual({fence, publicPorts})
  })
})
