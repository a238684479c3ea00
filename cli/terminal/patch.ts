import {once} from 'node:events'
import type {Writable} from 'node:stream'
import {visible} from '../../core/quote.js'

const SGR: Readonly<Record<string, string>> = {'+': '32', '-': '31', '@': '36'}

/** A patch as bytes into a file or a pipe; escaped and coloured on a terminal. */
export async function printPatch(
  patch: Buffer,
  output: Writable & {isTTY?: boolean},
  colours = output.isTTY === true,
): Promise<void> {
  const text = output.isTTY ? terminalPatch(patch.toString(), colours) : patch
  if (!output.write(text)) await once(output, 'drain')
}

export function terminalPatch(text: string, colours: boolean): string {
  return text
    .split('\n')
    .map((line) => {
      const shown = visible(line, '\t')
      const sgr = colours ? SGR[line[0] ?? ''] : undefined
      return sgr === undefined ? shown : `\u001b[${sgr}m${shown}\u001b[m`
    })
    .join('\n')
}
