import {resolve} from 'node:path'
import {afterAll, beforeAll, describe, expect, it} from '@jest/globals'
import {hasPseudoTerminals, PseudoTerminal} from '../support/pseudo-terminal.js'
import {cage, cageJson, cageOk, inTask, repository} from './harness.js'

const branch = 'test/attach'
const attach = (after = 'echo "<code $?>"; stty -a') =>
  new PseudoTerminal(`${process.execPath} ${resolve('bin/cage')} attach ${branch}; ${after}`, {
    cwd: repository,
  })
const COOKED = /<code 0>[^]* icanon[^]* echo /
const DETACH = '\u0002d'

const withTerminals = hasPseudoTerminals ? describe : describe.skip
withTerminals(`attach${hasPseudoTerminals ? '' : ' (skipped: no script program of util-linux)'}`, () => {
  beforeAll(() => cageOk(['task', 'new', branch, '--agent', 'shell']), 300_000)
  afterAll(() => cage(['task', 'rm', branch, '--force']), 120_000)

  it('shows the agent’s terminal in its size, follows resizes, detaches, and finds it again', async () => {
    const first = attach()
    await first.until(/detach: C-b d/)
    first.type('stty size; mark=here-$((20+3))\r')
    await first.until(/29 100/)
    await first.resize(41, 133)
    // tmux passes a new size on to its panes with a delay of its own.
    first.type('until [ "$(stty size)" = "40 133" ]; do sleep 0.2; done; echo "<large-$((40+1))>"\r')
    await first.until(/<large-41>/)
    first.type(DETACH)
    await first.until(COOKED)
    expect(first.output).toContain('detached; the agent keeps running')
    first.close()
    const second = attach()
    await second.until(/detach: C-b d/)
    second.type('echo "<$mark>"\r')
    await second.until(/<here-23>/)
    second.type(DETACH)
    await second.until(COOKED)
    second.close()
    await Promise.all([first.exit, second.exit])
    const {agent} = await cageJson<{agent: {state: string}}>(['task', 'show', branch])
    expect(['working', 'waiting']).toContain(agent.state)
  })

  it('lets nothing through that steals, links, asks or draws, from the shell or from a tmux of the agent’s making', async () => {
    const terminal = attach()
    await terminal.until(/detach: C-b d/)
    const hostile = [
      'printf "\\033]52;c;ZXZpbA==\\007\\033]8;;http://evil.example\\033\\\\x\\033]8;;\\033\\\\"',
      'printf "\\033]9;note\\007\\033]633;A\\007\\033]1337;File=:AAAA\\007\\033_Gf=100;AAAA\\033\\\\\\033P+q544e\\033\\\\"',
      // What tmux itself is told to pass on.
      'tmux -S /tmp/tmux.sock set -g allow-passthrough on',
      'printf "\\033Ptmux;\\033\\033]52;c;ZXZpbA==\\007\\033\\\\"',
      'tmux -S /tmp/tmux.sock set -s set-clipboard on; printf stolen | tmux -S /tmp/tmux.sock load-buffer -w -',
      // The agent may write to the terminal of the client behind tmux's back.
      'printf "\\033]52;c;ZXZpbA==\\007\\033[c\\033[6n\\033[>q" >$(tmux -S /tmp/tmux.sock list-clients -F "#{client_tty}" | head -n 1)',
      'echo "<end-$((40+2))>"',
    ]
    terminal.type(`${hostile.join('; ')}\r`)
    await terminal.until(/<end-42>/)
    terminal.type(DETACH)
    await terminal.until(COOKED)
    terminal.close()
    await terminal.exit
    for (const start of [
      '\u001b]52',
      '\u001b]8;',
      '\u001b]9',
      '\u001b]633',
      '\u001b]1337',
      '\u001b_',
      '\u001bP',
    ])
      expect(terminal.output).not.toContain(start)
    expect(terminal.output).not.toMatch(/\u001b\[[>=]?\d*c|\u001b\[\??6n|\u001b\[>\d*q|[\u0080-\u009f]/)
  })

  it('leaves by Ctrl-] three times when the far end does not answer', async () => {
    const terminal = attach()
    await terminal.until(/detach: C-b d/)
    await inTask(branch, 'pkill -STOP -x tmux || pkill -STOP tmux')
    terminal.type('\u001d\u001d\u001d')
    await terminal.until(COOKED)
    expect(terminal.output).toContain('\u001b[?1049l')
    terminal.close()
    await terminal.exit
    await inTask(branch, 'pkill -CONT tmux')
  })

  it('gives exec a terminal when there is one, with its size', async () => {
    const command = `${process.execPath} ${resolve('bin/cage')} task exec ${branch} -- sh -c 'tty; stty size; exit 5'`
    const terminal = new PseudoTerminal(`${command}; echo "<code $?>"`, {cwd: repository})
    await terminal.until(/<code 5>/)
    expect(terminal.output).toMatch(/\/dev\/pts\/\d+\s+30 100/)
    terminal.close()
    await terminal.exit
  })

  it('is refused without a terminal, with 255', async () => {
    const {code, stderr} = await cage(['attach', branch])
    expect(code).toBe(255)
    expect(stderr).toContain('needs a terminal')
  })
})
