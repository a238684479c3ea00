import {readFileSync} from 'node:fs'
import {setTimeout as sleep} from 'node:timers/promises'
import {TerminalFilter} from '../../cli/terminal/filter.js'
import {withTerminal} from '../../cli/terminal/session.js'

/** Runs in a pseudo-terminal for terminal.test.ts: a session whose far end is this file. */
const [what, file = ''] = process.argv.slice(2)

if (what === 'filter') {
  process.stdout.write(new TerminalFilter().write(readFileSync(file)))
  await sleep(300)
} else {
  const result = await withTerminal({input: process.stdin, output: process.stdout}, async (streams) => {
    const say = (text: string) => new Promise<void>((done) => streams.stdout.write(text, () => done()))
    streams.onResize(({rows, columns}) => void say(`<resized ${rows} ${columns}>`))
    await say('\u001b[?1049h\u001b[?1006h\u001b[?25l\u001b[?2004h\u001b[31mab\ncd\r\nef')
    await say(`<size ${streams.tty.rows} ${streams.tty.columns}>`)
    if (what === 'crash') setTimeout(() => fail(), 0)
    streams.stdin.on('data', (chunk: Buffer) => void say(`<typed ${chunk.toString('hex')}>`))
    await new Promise<void>((done, failed) => {
      streams.signal.addEventListener('abort', () => failed(new Error('left')))
      if (what === 'end') setTimeout(done, 100)
    })
  })
  process.stdout.write(`<result ${String(result)}>\n`)
}

function fail(): never {
  throw new Error('crashed')
}
