/**
 * An independent reading of what may come out of the filter: one regular expression over the decoded output,
 * written from the list and not from the filter's tables.
 */
const number = '[0-9]{0,4}'
const decModes = '(?:1|6|7|9|12|25|47|1000|1002|1003|1005|1006|1015|1047|1048|1049|2004)'
const allowed = [
  // text, and the controls that move the cursor
  '[\\u0020-\\u007e\\u00a0-\\u{10ffff}]',
  '[\\u0007-\\u000f]',
  // SGR, cursor, erase, scroll
  '\\u001b\\[[0-9;:]*m',
  `\\u001b\\[${number}[ABCDEFGIKLMPSTXZ@\`abdeg]`,
  '\\u001b\\[0*[0-2]?J',
  `\\u001b\\[${number}(?:;${number})?[Hfr]`,
  '\\u001b\\[[su]',
  '\\u001b\\[[0-6]? q',
  // modes
  `\\u001b\\[\\?${decModes}(?:;${decModes})*[hl]`,
  '\\u001b\\[4[hl]',
  '\\u001b[78=>DEHM]',
  '\\u001b[()][0B]',
  // title: no control character inside, bounded
  '\\u001b\\]2;[\\u0020-\\u007e\\u00a0-\\u{10ffff}]{0,120}\\u0007',
]
const whole = new RegExp(`^(?:${allowed.join('|')})*$`, 'u')

/** Whether every byte of the output belongs to something that is allowed to reach a terminal. */
export function onlyAllowed(output: Buffer): boolean {
  const text = new TextDecoder('utf-8', {fatal: true, ignoreBOM: true}).decode(output)
  return whole.test(text)
}
