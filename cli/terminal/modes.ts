import type {ControlSequence} from './sequences.js'

const CSI = '\u001b['
const ALTERNATE_SCREENS = ['47', '1047', '1049']
const OFF_BY_DEFAULT = ['1', '6', '9', '12', '1000', '1002', '1003', '1005', '1006', '1015', '2004']
const ON_BY_DEFAULT = ['7', '25']

/** Remembers what a session changed in the terminal and says how to undo exactly that. */
export class TerminalModes {
  private readonly on = new Set<string>()
  private readonly off = new Set<string>()
  private coloured = false
  private insert = false
  private region = false
  private cursorStyle = false
  private applicationKeypad = false
  private charset = false

  /** a sequence in its allowed form */
  sequence({prefix, params, intermediates, final}: ControlSequence): void {
    if (prefix === '?') this.decModes(params.split(';'), final === 'h')
    else if (intermediates === ' ') this.cursorStyle = params !== '' && params !== '0'
    else if (final === 'm') this.coloured = !/^0*$/.test(params)
    else if (final === 'h' || final === 'l') this.insert = final === 'h'
    else if (final === 'r') this.region = params !== ''
  }

  private decModes(modes: readonly string[], set: boolean): void {
    for (const mode of modes) {
      if (set) {
        this.on.add(mode)
        this.off.delete(mode)
      } else {
        this.on.delete(mode)
        this.off.add(mode)
      }
    }
  }

  escape(final: string): void {
    if (final === '=') this.applicationKeypad = true
    else if (final === '>') this.applicationKeypad = false
  }

  /** shift out, or a designation other than ASCII */
  charsetChanged(): void {
    this.charset = true
  }

  /** The text that brings the terminal back; empty when nothing was changed. Forgets afterwards. */
  reset(): string {
    const parts: string[] = []
    const changed = OFF_BY_DEFAULT.filter((mode) => this.on.has(mode))
    if (changed.length > 0) parts.push(`${CSI}?${changed.join(';')}l`)
    if (this.insert) parts.push(`${CSI}4l`)
    // Setting the region moves the cursor, so the cursor is saved around it.
    if (this.region) parts.push(`\u001b7${CSI}r\u001b8`)
    if (this.applicationKeypad) parts.push('\u001b>')
    if (this.charset) parts.push('\u000f\u001b(B\u001b)B')
    const screens = ALTERNATE_SCREENS.filter((mode) => this.on.has(mode))
    if (screens.length > 0) parts.push(`${CSI}?${screens.join(';')}l`)
    if (this.coloured) parts.push(`${CSI}0m`)
    const hidden = ON_BY_DEFAULT.filter((mode) => this.off.has(mode))
    if (hidden.length > 0) parts.push(`${CSI}?${hidden.join(';')}h`)
    if (this.cursorStyle) parts.push(`${CSI}0 q`)
    this.forget()
    return parts.join('')
  }

  private forget(): void {
    this.on.clear()
    this.off.clear()
    this.coloured = this.insert = this.region = this.cursorStyle = false
    this.applicationKeypad = this.charset = false
  }
}
