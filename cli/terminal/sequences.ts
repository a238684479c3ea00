/**
 * Which escape sequences of a pod may reach the person's terminal. Everything else is dropped, so a
 * sequence that nobody here has heard of is harmless. Never anything that makes a terminal answer,
 * touches the clipboard, files, links, the window or the printer.
 */

/** `CSI prefix params intermediates final`, as parsed: nothing but the bytes the grammar allows in each place. */
export interface ControlSequence {
  /** '' or one of `< = > ?` */
  prefix: string
  /** digits, `;` and `:` */
  params: string
  intermediates: string
  final: string
}

/** Sequences without prefix and intermediates whose parameters are numbers: cursor, erase, insert, scroll. */
const NUMERIC = new Set('ABCDEFGHIJKLMPSTXZ@`abdefgr')
/** The most parameters that mean something; more of them have a second, other meaning in some terminals. */
const MAX_NUMERIC_PARAMS: Readonly<Record<string, number>> = {H: 2, f: 2, r: 2}
const MAX_VALUE = 9999

/** DEC private modes a pod may switch: cursor keys, origin, wrap, cursor, alternate screen, mouse, bracketed paste. */
const DEC_MODES = new Set([
  '1',
  '6',
  '7',
  '9',
  '12',
  '25',
  '47',
  '1000',
  '1002',
  '1003',
  '1005',
  '1006',
  '1015',
  '1047',
  '1048',
  '1049',
  '2004',
])
const INSERT_MODE = '4'

/** Control characters that move the cursor, ring the bell or choose the character set. */
const C0 = new Set([0x07, 0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f])

/** `ESC x`: save and restore the cursor, index, next line, tab stop, reverse index, keypad modes. */
const ESCAPES = new Set('78=>DEHM')

export function isAllowedControl(byte: number): boolean {
  return C0.has(byte)
}

export function isAllowedEscape(final: string): boolean {
  return ESCAPES.has(final)
}

/** `ESC ( x` and `ESC ) x`: line drawing and ASCII only. */
export function isAllowedCharset(intermediates: string, final: string): boolean {
  return (intermediates === '(' || intermediates === ')') && (final === '0' || final === 'B')
}

/** The sequence to send on, without its ESC [, or undefined when nothing of it may pass. */
export function allowedForm(sequence: ControlSequence): string | undefined {
  const {prefix, params, intermediates, final} = sequence
  if (prefix === '?' && intermediates === '' && (final === 'h' || final === 'l')) {
    const modes = params.split(';').filter((mode) => DEC_MODES.has(mode))
    return modes.length > 0 ? `?${modes.join(';')}${final}` : undefined
  }
  if (prefix !== '') return undefined
  if (intermediates === ' ' && final === 'q') return /^[0-6]?$/.test(params) ? `${params} q` : undefined
  if (intermediates !== '') return undefined
  if (final === 'm') return `${params}m`
  if (final === 'h' || final === 'l')
    return params.split(';').includes(INSERT_MODE) ? INSERT_MODE + final : undefined
  if (final === 's' || final === 'u') return params === '' ? final : undefined
  return NUMERIC.has(final) ? numericForm(params, final) : undefined
}

function numericForm(params: string, final: string): string | undefined {
  if (params.includes(':')) return undefined
  const values = params.split(';')
  if (values.length > (MAX_NUMERIC_PARAMS[final] ?? 1)) return undefined
  // `CSI 3 J` wipes what the person had in the scroll-back before.
  if (final === 'J' && Number(params) > 2) return undefined
  const bounded = values.map((value) => (Number(value) > MAX_VALUE ? String(MAX_VALUE) : value))
  return bounded.join(';') + final
}
