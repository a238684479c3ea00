import {spawnSync} from 'node:child_process'
import {mkdtempSync, readFileSync, rmSync, writeFileSync} from 'node:fs'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {afterAll, beforeAll, describe, expect, it} from '@jest/globals'
import {build} from 'esbuild'
import {hasPseudoTerminals, PseudoTerminal} from '../support/pseudo-terminal.js'

const folder = mkdtempSync(join(tmpdir(), 'cage-terminal-'))
const driver = join(folder, 'driver.mjs')
const hasTmux = spawnSync('tmux', ['-V']).status === 0

beforeAll(async () => {
  await build({
    entryPoints: [join(import.meta.dirname, 'terminal.driver.ts')],
    bundle: true,
    format: 'esm',
    outfile: driver,
    platform: 'node',
    target: 'node20',
  })
})
afterAll(() => rmSync(folder, {force: true, recursive: true}))

const run = (what: string) =>
  new PseudoTerminal(`${process.execPath} ${driver} ${what}; echo "<code $?>"; stty -a`)
const UNDONE = '\u001b[?1006;2004l\u001b[?1049l\u001b[0m\u001b[?25h'
/** the terminal is in its ordinary mode again */
const COOKED = /<code \d+>[^]* icanon[^]* echo /

const withTerminals = hasPseudoTerminals ? describe : describe.skip
withTerminals(
  `a session in a terminal${hasPseudoTerminals ? '' : ' (skipped: no script program of util-linux)'}`,
  () => {
    it('gets the size, what is typed, and new sizes', async () => {
      const terminal = run('stay')
      await terminal.until(/<size 30 100>/)
      terminal.type('\u0003x\u0002d')
      await terminal.until(/<typed 03780264>/)
      await terminal.resize(44, 132)
      await terminal.until(/<resized 44 132>/)
      terminal.type('\u001d\u001d\u001d')
      await terminal.until(COOKED)
      terminal.close()
      await terminal.exit
    })

    it('goes one line down without going to its beginning', async () => {
      const terminal = run('end')
      await terminal.until(/<code 0>/)
      expect(terminal.output).toMatch(/ab\u001bDcd\r+\nef/)
      terminal.close()
      await terminal.exit
    })

    it.each([
      ['the far end ends', 'end', () => undefined, '<result undefined>'],
      [
        'the person leaves by the key that always works',
        'stay',
        (t: PseudoTerminal) => t.type('\u001d\u001d\u001d'),
        '<result left>',
      ],
      ['cage crashes', 'crash', () => undefined, 'Error: crashed'],
    ])('undoes its modes when %s', async (_when, what, act, expected) => {
      const terminal = run(what)
      await terminal.until(/<size/)
      act(terminal)
      await terminal.until(COOKED)
      expect(terminal.output).toContain(UNDONE)
      expect(terminal.output).toContain(expected)
      terminal.close()
      await terminal.exit
    })

    it('undoes its modes when a signal ends cage', async () => {
      const direct = new PseudoTerminal(
        `sh -c 'echo "<pid $$>"; exec ${process.execPath} ${driver} stay'; echo "<code $?>"; stty -a`,
      )
      const [, pid] = await direct.until(/<pid (\d+)>/)
      await direct.until(/<size/)
      process.kill(Number(pid), 'SIGTERM')
      await direct.until(COOKED)
      expect(direct.output).toContain(UNDONE)
      direct.close()
      await direct.exit
    })
  },
)

// tmux is a terminal with a clipboard that can be looked at, and it answers questions.
const withTmux = hasTmux ? describe : describe.skip
withTmux(`hostile output in a real terminal${hasTmux ? '' : ' (skipped: no tmux on this computer)'}`, () => {
  const socket = join(folder, 'tmux')
  const tmux = (...args: string[]) => {
    const {status, stdout, stderr} = spawnSync('tmux', ['-S', socket, '-f', '/dev/null', ...args])
    if (status !== 0) throw new Error(`tmux ${args.join(' ')}: ${stderr.toString()}`)
    return stdout.toString()
  }
  const hostile = join(folder, 'hostile')
  const evil = Buffer.from('stolen').toString('base64')

  beforeAll(() => {
    writeFileSync(
      hostile,
      `text\u001b]52;c;${evil}\u0007\u001b[c\u001b[>c\u001b[6n\u001b[5n\u001b[>q\u001b]10;?\u0007\u001bP$qm\u001b\\ end`,
    )
    tmux('new-session', '-d', '-x', '100', '-y', '30', '-s', 'judge')
    tmux('set-option', '-s', 'set-clipboard', 'on')
  })
  afterAll(() => {
    tmux('kill-server')
  })

  /** Shows bytes in a new terminal; returns what the terminal answered, and its clipboard. */
  const show = (name: string, command: string): {answers: string; clipboard: string; screen: string} => {
    const answers = join(folder, `${name}.answers`)
    spawnSync('tmux', ['-S', socket, 'delete-buffer'])
    const reader = `stty raw -echo min 0 time 5; ${command}; cat >${answers}; tmux -S ${socket} wait-for -S ${name}`
    tmux('new-window', '-d', '-n', name, `sh -c '${reader}; sleep 60'`)
    tmux('wait-for', name)
    const clipboard = spawnSync('tmux', ['-S', socket, 'show-buffer']).stdout.toString()
    return {
      answers: readFileSync(answers, 'latin1'),
      clipboard,
      screen: tmux('capture-pane', '-p', '-t', `judge:${name}`),
    }
  }

  it('steals and asks without the filter: the terminal is worth defending', () => {
    const {answers, clipboard} = show('control', `cat ${hostile}`)
    expect(clipboard).toBe('stolen')
    expect(answers).toContain('\u001b[?')
    expect(answers).toContain('R')
  })

  it('does neither behind it', () => {
    const {answers, clipboard, screen} = show('filtered', `${process.execPath} ${driver} filter ${hostile}`)
    expect(clipboard).toBe('')
    expect(answers).toBe('')
    expect(screen).toContain('text end')
  })
})
