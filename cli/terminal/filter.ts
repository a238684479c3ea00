import {visible} from '../../core/quote.js'
import {TerminalModes} from './modes.js'
import {allowedForm, isAllowedCharset, isAllowedControl, isAllowedEscape} from './sequences.js'
import type {ControlSequence} from './sequences.js'
import {Utf8Collector} from './utf8.js'

const ESC = 0x1b
const BEL = 0x07
const CAN = 0x18
const SUB = 0x1a
/** `ESC` + DCS P, SOS X, PM ^, APC _, and the screen title k */
const STRING_STARTS = 'PX^_k'
const MAX_SEQUENCE = 256
const MAX_TITLE_BYTES = 512
const MAX_TITLE_CHARACTERS = 120
const REPLACEMENT = Buffer.from('\ufffd')

/** `string` = DCS, APC, PM, SOS and `ESC k`: all dropped up to their end. */
type State = 'ground' | 'escape' | 'escapeRest' | 'csi' | 'csiRest' | 'osc' | 'string'

/**
 * Stands between what a pod writes and the person's terminal. A streaming parser: sequences may be split at
 * any byte. Allowed sequences are written anew from their parsed form, so the terminal sees only what was
 * understood here; memory is bounded whatever comes.
 */
export class TerminalFilter {
  private state: State = 'ground'
  private readonly utf8 = new Utf8Collector()
  private readonly modes = new TerminalModes()
  private collected = ''
  private title: number[] = []
  private out: Buffer[] = []
  private readonly handlers: Readonly<Record<State, (byte: number) => void>> = {
    ground: (byte) => this.control(byte),
    escape: (byte) => this.escapeByte(byte),
    escapeRest: (byte) => this.escapeRest(byte),
    csi: (byte) => this.csiByte(byte),
    csiRest: (byte) => this.skipToFinal(byte),
    osc: (byte) => this.oscByte(byte),
    string: () => undefined,
  }

  /** The bytes of `chunk` that may reach the terminal. */
  write(chunk: Uint8Array): Buffer {
    this.out = []
    let i = 0
    while (i < chunk.length) {
      const end = this.state === 'ground' && !this.utf8.pending ? endOfPlainText(chunk, i) : i
      if (end > i) {
        this.out.push(Buffer.from(chunk.subarray(i, end)))
        i = end
      } else {
        this.byte(chunk[i] ?? 0)
        i++
      }
    }
    const result = Buffer.concat(this.out)
    this.out = []
    return result
  }

  /** Undoes what the session switched on and drops what was half received: for detach and for a crash. */
  reset(): string {
    this.state = 'ground'
    this.utf8.clear()
    return this.modes.reset()
  }

  private byte(byte: number): void {
    if (this.utf8.pending || (byte >= 0x80 && this.state === 'ground')) this.textByte(byte)
    else if (byte === ESC) this.begin('escape')
    else if (byte === CAN || byte === SUB) this.state = 'ground'
    else this.handlers[this.state](byte)
  }

  private begin(state: State): void {
    // ESC ends an OSC; only a proper `ESC \` lets its title through.
    if (this.state !== 'osc' || state !== 'escape') this.title = []
    this.collected = ''
    this.state = state
  }

  private textByte(byte: number): void {
    const step = this.utf8.push(byte)
    if (step.kind === 'more') return
    if (step.kind === 'character') {
      // U+0080 to U+009F are the C1 controls, CSI and OSC among them.
      if (step.codePoint >= 0xa0) this.out.push(Buffer.from(step.bytes))
      return
    }
    // A lone C1 byte is a control of 8-bit terminals: dropped, not shown.
    if (step.first >= 0xa0) this.out.push(REPLACEMENT)
    if (step.again) this.byte(byte)
  }

  private control(byte: number): void {
    if (byte >= 0x20 && byte < 0x7f) this.out.push(Buffer.from([byte]))
    else if (isAllowedControl(byte)) {
      if (byte === 0x0e) this.modes.charsetChanged()
      this.out.push(Buffer.from([byte]))
    }
  }

  private escapeByte(byte: number): void {
    const title = this.title
    const character = String.fromCharCode(byte)
    if (byte < 0x20) this.control(byte)
    else if (character === '[') this.begin('csi')
    else if (character === ']') this.begin('osc')
    else if (STRING_STARTS.includes(character)) this.begin('string')
    else if (byte <= 0x2f) {
      this.begin('escapeRest')
      this.collected = character
    } else {
      this.begin('ground')
      if (character === '\\') this.writeTitle(title)
      else if (isAllowedEscape(character)) {
        this.modes.escape(character)
        this.emit(`\u001b${character}`)
      }
    }
  }

  private escapeRest(byte: number): void {
    const character = String.fromCharCode(byte)
    if (byte < 0x20) this.control(byte)
    else if (byte <= 0x2f) this.collect(character)
    else {
      const intermediates = this.collected
      this.begin('ground')
      if (!isAllowedCharset(intermediates, character)) return
      if (character !== 'B') this.modes.charsetChanged()
      this.emit(`\u001b${intermediates}${character}`)
    }
  }

  private csiByte(byte: number): void {
    const character = String.fromCharCode(byte)
    if (byte < 0x20) this.control(byte)
    else if (byte >= 0x40 && byte <= 0x7e) {
      const text = this.collected + character
      this.begin('ground')
      this.controlSequence(text)
    } else if (byte >= 0x7f || this.collected.length >= MAX_SEQUENCE) this.begin('csiRest')
    else this.collect(character)
  }

  private skipToFinal(byte: number): void {
    if (byte >= 0x40 && byte <= 0x7e) this.state = 'ground'
  }

  private collect(character: string): void {
    if (this.collected.length < MAX_SEQUENCE) this.collected += character
  }

  private controlSequence(text: string): void {
    const form = parseControlSequence(text)
    const allowed = form && allowedForm(form)
    if (allowed === undefined) return
    const regenerated = parseControlSequence(allowed)
    if (regenerated) this.modes.sequence(regenerated)
    this.emit(`\u001b[${allowed}`)
  }

  private oscByte(byte: number): void {
    if (byte === BEL) {
      const title = this.title
      this.begin('ground')
      this.writeTitle(title)
    } else if (this.title.length < MAX_TITLE_BYTES) this.title.push(byte)
  }

  private writeTitle(bytes: readonly number[]): void {
    const match = /^[02];([^]*)$/.exec(Buffer.from(bytes).toString())
    if (!match) return
    const text = visible(match[1] ?? '').replaceAll('\ufffd', '')
    this.emit(`\u001b]2;${Array.from(text).slice(0, MAX_TITLE_CHARACTERS).join('')}\u0007`)
  }

  private emit(text: string): void {
    this.out.push(Buffer.from(text))
  }
}

function endOfPlainText(chunk: Uint8Array, from: number): number {
  let i = from
  for (; i < chunk.length; i++) {
    const byte = chunk[i] ?? 0
    if (byte < 0x20 || byte > 0x7e) break
  }
  return i
}

function parseControlSequence(text: string): ControlSequence | undefined {
  const match = /^([<=>?]?)([0-9;:]*)([ -/]*)([@-~])$/.exec(text)
  if (!match) return undefined
  const [, prefix = '', params = '', intermediates = '', final = ''] = match
  return {prefix, params, intermediates, final}
}
