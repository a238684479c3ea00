import {describe, expect, it} from '@jest/globals'
import {adapterOf} from '../../../tasks/adapters/known.js'

const commands = (agent: string, request: {prompt?: string; args?: string[]; unattended?: boolean} = {}) =>
  adapterOf(agent).commands({args: [], unattended: false, ...request})

describe('shell', () => {
  it('runs the command, the script, or a login shell', () => {
    expect(commands('shell', {args: ['make', 'test', '--', '-x']})).toEqual({
      argv: ['make', 'test', '--', '-x'],
    })
    expect(commands('shell', {prompt: 'set -e\necho "$HOME"'})).toEqual({
      argv: ['bash', '-lc', 'set -e\necho "$HOME"'],
    })
    expect(commands('shell')).toEqual({argv: ['bash', '-l'], resume: ['bash', '-l']})
  })

  it('refuses both, and waiting for a shell that waits for a person', () => {
    expect(() => commands('shell', {prompt: 'x', args: ['y']})).toThrow(
      expect.objectContaining({exitCode: 2}),
    )
    expect(() => commands('shell', {unattended: true})).toThrow(expect.objectContaining({exitCode: 2}))
  })
})

describe('claude', () => {
  it('takes a prompt as one argument, whatever it looks like', () => {
    expect(commands('claude', {prompt: '--help me', args: ['--model', 'opus']}).argv).toEqual([
      'claude',
      '--dangerously-skip-permissions',
      '--model',
      'opus',
      '--',
      '--help me',
    ])
    expect(commands('claude').argv).toEqual(['claude', '--dangerously-skip-permissions'])
  })

  it('goes on with its conversation after a restart', () => {
    expect(commands('claude', {prompt: 'x'}).resume?.slice(0, 4)).toEqual([
      'claude',
      '--dangerously-skip-permissions',
      '--continue',
      '--',
    ])
  })

  it('ends by itself when nobody looks on, and then needs a prompt', () => {
    expect(commands('claude', {prompt: 'x', unattended: true}).argv).toEqual([
      'claude',
      '-p',
      '--dangerously-skip-permissions',
      '--',
      'x',
    ])
    expect(() => commands('claude', {unattended: true})).toThrow(expect.objectContaining({exitCode: 2}))
  })

  it('names a credential whose placeholder is all that enters the pod', () => {
    expect(adapterOf('claude')).toMatchObject({
      presets: ['anthropic'],
      credential: {variable: 'ANTHROPIC_AUTH_TOKEN', host: 'api.anthropic.com', template: 'Bearer {}'},
    })
  })
})

describe('other agents', () => {
  it.each(['codex', 'gemini', 'pi', '', 'toString', 'Claude'])(
    '%s: exit 2 and the names that are known',
    (name) => {
      expect(() => adapterOf(name)).toThrow(
        expect.objectContaining({
          code: 'AGENT_UNKNOWN',
          exitCode: 2,
          message: expect.stringContaining('claude and shell'),
        }),
      )
    },
  )
})
