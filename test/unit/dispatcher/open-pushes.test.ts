import {describe, expect, it} from '@jest/globals'
import {OpenPushes} from '../../../dispatcher/gate/upstream-socket.js'
import {gitGrant} from '../../support/grants.js'

const base = gitGrant({task: 'fix', branch: 'fix'})
const grant = {...base, push: {...base.push, refs: ['refs/heads/fix']}}
const repository = 'forge.example.com/org/app.git'
const own = {old: '1'.repeat(40), new: '2'.repeat(40), ref: 'refs/heads/fix'}
const main = {...own, ref: 'refs/heads/main'}

describe('what the git container may send', () => {
  const pushes = new OpenPushes()
  pushes.begin('open', repository, grant)
  const send = (over: {request?: string; commands?: (typeof own)[]; capabilities?: string[]}) =>
    pushes.check(over.request ?? 'open', repository, {
      commands: over.commands ?? [own],
      capabilities: over.capabilities ?? ['report-status', 'atomic', 'object-format=sha1', 'agent=cage'],
    })

  it('is what the document of an open push gives', () => {
    expect(send({})).toBe('fix')
  })

  it.each([
    ['a push that nobody has open', {request: 'other'}],
    ['another branch', {commands: [own, main]}],
    ['nothing', {commands: []}],
    ['options for the server', {capabilities: ['report-status', 'push-options']}],
    ['another line in a capability', {capabilities: ['report-status\n0000']}],
    ['a capability of its own words', {capabilities: ['agent=cage\0 push-options']}],
  ])('is not %s', (_, over) => {
    expect(() => send(over)).toThrow()
  })
})
