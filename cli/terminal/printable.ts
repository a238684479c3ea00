import {Writable} from 'node:stream'
import {visible} from '../../core/quote.js'

const LONGEST_HELD = 65_536

/**
 * Lines for people: on a terminal every control, bidirectional or invisible character is shown escaped; into a file or
 * a pipe the bytes go as they are.
 */
export function printable(output: Writable & {isTTY?: boolean}): Writable {
  if (!output.isTTY) return output
  const decoder = new TextDecoder()
  let held = ''
  const write = (text: string, done: (error?: Error | null) => void) => {
    if (text === '') done()
    else output.write(visible(text, '\n\t'), done)
  }
  return new Writable({
    write(chunk: Buffer, _encoding, done) {
      held += decoder.decode(chunk, {stream: true})
      // A carriage return before a line's end is how terminals end lines; anywhere else it is shown.
      const end = held.length > LONGEST_HELD ? held.length : held.lastIndexOf('\n') + 1
      const whole = held.slice(0, end).replaceAll('\r\n', '\n')
      held = held.slice(end)
      write(whole, done)
    },
    final(done) {
      write(held + decoder.decode(), done)
    },
  })
}
