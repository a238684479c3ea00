import {expect, test} from '@jest/globals'
import {requireSupported} from '../../../cli/supported.js'
import type {OperatorFile, ProjectFile} from '../../../policy/file-types.js'
import {settingsOf} from '../../support/settings.js'

const upstream = 'https://git.example.com/org/app.git'
const github = 'https://github.com/org/app'
const named: OperatorFile = {network: {upstreamProxy: 'http://proxy.example.com:3128'}}
const numbered: OperatorFile = {network: {upstreamProxy: 'http://10.1.2.3:3128'}}
const ask = (project: ProjectFile, operator?: OperatorFile) => () => {
  requireSupported(settingsOf(project, operator))
}

test.each<[string, ProjectFile, OperatorFile | undefined]>([
  ['nothing', {}, undefined],
  ['a git server', {repository: {upstream}}, undefined],
  ['a fork at GitHub', {repository: {upstream: github, mode: 'fork'}}, undefined],
  ['a proxy by name for tasks alone', {}, named],
  ['a proxy by address for both doors', {repository: {upstream}}, numbered],
])('%s is enforced as it is said', (_, project, operator) => {
  expect(ask(project, operator)).not.toThrow()
})

test.each<[string, ProjectFile, OperatorFile | undefined, string]>([
  ['a fork of a hosted repository', {repository: {mode: 'fork'}}, undefined, 'repository.mode fork without'],
  [
    'a fork at a git server',
    {repository: {upstream, mode: 'fork'}},
    undefined,
    'repository.mode fork without',
  ],
  ['a proxy by name before an upstream', {repository: {upstream}}, named, 'write its IPv4 address'],
  ['a proxy by name before what is read', {repository: {read: [upstream]}}, named, 'write its IPv4 address'],
  ['an image of their own', {task: {image: 'mine'}}, undefined, 'task.image mine'],
])('%s is refused by name', (_, project, operator, words) => {
  expect(ask(project, operator)).toThrow(
    expect.objectContaining({
      code: 'NOT_IN_THIS_VERSION',
      exitCode: 3,
      message: expect.stringContaining(words),
    }),
  )
})

test('everything is named at once', () => {
  expect(ask({repository: {upstream, mode: 'fork'}}, named)).toThrow(
    /upstreamProxy by name.*\n.*repository\.mode/,
  )
})
