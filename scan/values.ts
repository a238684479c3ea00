import {formsOf, type ExactForm, type ExactValue, type OnValue} from './exact.js'
import {spread, wordsOf} from './words.js'

const FILTER_BITS = 15
const WORD = 4
/** Bytes from one word that is looked at to the next: the wider one where every text is long enough for it. */
const STEPS = [2 * WORD, WORD]
/** What has to agree before a comparison is charged for. */
const BEGINNING = 8

/** A text whose word at this offset was met. */
interface Candidate {
  form: ExactForm
  offset: number
}

/** Finds known values in every form, looking at every eighth or fourth byte only. */
export class ValueMatcher {
  private readonly filter = new Uint8Array(1 << FILTER_BITS)
  private readonly byWord = new Map<number, Candidate[]>()
  private readonly step: number

  constructor(values: readonly ExactValue[]) {
    const forms = formsOf(values)
    const shortest = forms.reduce((least, {text}) => Math.min(least, text.length), Infinity)
    this.step = STEPS.find((step) => stretchOf(step) <= shortest) ?? WORD
    for (const form of forms) {
      const start = tellingStretch(form.text, stretchOf(this.step))
      for (let offset = start; offset < start + this.step; offset++) {
        const word = form.text.readInt32LE(offset)
        this.filter[spread(word, FILTER_BITS)] = 1
        const list = this.byWord.get(word)
        if (list) list.push({form, offset})
        else this.byWord.set(word, [{form, offset}])
      }
    }
  }

  /** @param charge called before each comparison with its cost in bytes; false stops the search */
  find(bytes: Buffer, onValue: OnValue, charge: (cost: number) => boolean): void {
    const {filter, byWord} = this
    if (byWord.size === 0) return
    const {head, words} = wordsOf(bytes)
    const step = this.step / WORD
    for (let index = 0; index < words.length; index += step) {
      const word = words[index] ?? 0
      if (filter[spread(word, FILTER_BITS)] !== 1) continue
      for (const {form, offset} of byWord.get(word) ?? []) {
        const from = head + WORD * index - offset
        if (!beginsAlike(bytes, from, form.text)) continue
        if (!charge(form.text.length)) return
        if (bytes.compare(form.text, 0, form.text.length, from, from + form.text.length) === 0)
          onValue({id: form.id, length: form.text.length}, from)
      }
    }
  }
}

function beginsAlike(bytes: Buffer, from: number, text: Buffer): boolean {
  if (from < 0 || from + text.length > bytes.length) return false
  for (let at = 0; at < BEGINNING; at++) if (bytes[from + at] !== text[at]) return false
  return true
}

/** Wherever a text lies, so many of its bytes hold one whole word that is looked at, at any of `step` distances. */
function stretchOf(step: number): number {
  return step + WORD - 1
}

/** Where the most different bytes stand together, the last of such places: lines of dashes should not look like a key. */
function tellingStretch(text: Buffer, stretch: number): number {
  let best = 0
  let most = 0
  for (let start = 0; start + stretch <= text.length; start++) {
    const different = new Set(text.subarray(start, start + stretch)).size
    if (different < most) continue
    best = start
    most = different
  }
  return best
}
