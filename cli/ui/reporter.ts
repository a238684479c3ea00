import {visible} from '../../core/quote.js'
import type {Reporter} from '../../core/report.js'

interface Output {
  isTTY?: boolean
  write(text: string): unknown
}

/**
 * Steps as ` • name`, ` ✓ name` and ` ✗ name`. The words are the same on a terminal and in a log;
 * a terminal sees one line a step, rewritten in place.
 */
export function lineReporter(output: Output, now: () => number = Date.now): Reporter {
  const live = output.isTTY === true
  let name = ''
  let startedAt = 0
  let lastDetailAt = 0
  const seconds = () => `${((now() - startedAt) / 1000).toFixed(1)} s`
  const line = (mark: string, note?: string) =>
    ` ${mark} ${name}${note ? `: ${visible(note)}` : ''} (${seconds()})\n`
  const clear = () => (live ? '\r\u001b[K' : '')
  return {
    begin: (step) => {
      name = step
      startedAt = now()
      lastDetailAt = startedAt
      output.write(live ? ` • ${name} …` : ` • ${name}\n`)
    },
    detail: (text) => {
      const shown = visible(text).slice(0, 100)
      if (live) output.write(`${clear()} • ${name}: ${shown} (${seconds()})`)
      else if (now() - lastDetailAt > 15_000) {
        // A log wants a sign of life now and then, not every line.
        lastDetailAt = now()
        output.write(`   ${shown} (${seconds()})\n`)
      }
    },
    done: (note) => output.write(clear() + line('✓', note)),
    fail: (note) => output.write(clear() + line('✗', note)),
    info: (text) => output.write(`${clear()}${visible(text, '\n')}\n`),
  }
}
