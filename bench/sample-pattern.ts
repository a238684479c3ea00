/** Writes texts that a regular expression matches: the subset of RE2 that tables of secret formats are written in. */

type Pick = (count: number) => number

/** How often a part without an upper bound is repeated at most, beyond its least. */
const MOST_MORE = 40

const printable = range(0x20, 0x7e)
const word = [...range(0x30, 0x39), ...range(0x41, 0x5a), ...range(0x61, 0x7a), 0x5f]
const classes: Readonly<Record<string, readonly number[]>> = {
  d: range(0x30, 0x39),
  w: word,
  s: [0x20],
  S: printable.filter((code) => code !== 0x20),
  D: printable.filter((code) => code < 0x30 || code > 0x39),
  W: [0x20, 0x2d],
}

/** @param random numbers in [0, 1) */
export function samplePattern(source: string, random: () => number): string {
  const sampler = new Sampler(source, (count) => Math.floor(random() * count))
  return sampler.alternation()
}

/** Parses and writes in one pass: what is not chosen is written and thrown away. */
class Sampler {
  readonly #source: string
  readonly #pick: Pick
  #at = 0

  constructor(source: string, pick: Pick) {
    this.#source = source
    this.#pick = pick
  }

  alternation(): string {
    const texts = [this.#sequence()]
    while (this.#source[this.#at] === '|') {
      this.#at++
      texts.push(this.#sequence())
    }
    return texts[this.#pick(texts.length)] ?? ''
  }

  #sequence(): string {
    let text = ''
    while (this.#at < this.#source.length && !'|)'.includes(this.#source[this.#at] ?? '')) {
      const start = this.#at
      const first = this.#atom()
      const [least, most] = this.#quantifier()
      const end = this.#at
      const times = least + this.#pick((most === Infinity ? MOST_MORE : most - least) + 1)
      if (times === 0) continue
      text += first
      for (let time = 1; time < times; time++) {
        this.#at = start
        text += this.#atom()
      }
      this.#at = end
    }
    return text
  }

  #quantifier(): [least: number, most: number] {
    const rest = this.#source.slice(this.#at)
    const [whole, symbol, least, comma, most] = /^(?:([?*+])|\{(\d+)(,?)(\d*)\})\??/.exec(rest) ?? []
    if (whole === undefined) return [1, 1]
    this.#at += whole.length
    if (symbol === '?') return [0, 1]
    if (symbol !== undefined) return [symbol === '*' ? 0 : 1, Infinity]
    return [Number(least), comma === '' ? Number(least) : most === '' ? Infinity : Number(most)]
  }

  #atom(): string {
    const char = this.#source[this.#at++] ?? ''
    if (char === '(') return this.#group()
    if (char === '[') return this.#oneOf(this.#class())
    if (char === '.') return this.#oneOf(word)
    if (char === '^' || char === '$') return ''
    return char === '\\' ? this.#escape() : char
  }

  #group(): string {
    const [head = ''] = /^\?(?:[a-zA-Z-]*:|P?<\w+>|[a-zA-Z-]+(?=\)))/.exec(this.#source.slice(this.#at)) ?? []
    this.#at += head.length
    const text = this.alternation()
    this.#at++
    return text
  }

  #escape(): string {
    const char = this.#source[this.#at++] ?? ''
    if (char === 'b' || char === 'B' || char === 'z' || char === 'A') return ''
    if (char === 'x') {
      this.#at += 2
      return String.fromCharCode(parseInt(this.#source.slice(this.#at - 2, this.#at), 16))
    }
    const known = {n: '\n', r: '\r', t: '\t'}[char]
    if (known !== undefined) return known
    const codes = classes[char]
    return codes ? this.#oneOf(codes) : char
  }

  #class(): number[] {
    const negated = this.#source[this.#at] === '^'
    if (negated) this.#at++
    const codes: number[] = []
    for (let first = true; first || this.#source[this.#at] !== ']'; first = false) {
      const low = this.#member()
      const isRange = this.#source[this.#at] === '-' && this.#source[this.#at + 1] !== ']'
      if (low.length !== 1 || !isRange) codes.push(...low)
      else {
        this.#at++
        codes.push(...range(low[0] ?? 0, this.#member()[0] ?? 0))
      }
    }
    this.#at++
    return negated ? printable.filter((code) => !codes.includes(code)) : codes
  }

  #member(): number[] {
    const char = this.#source[this.#at++] ?? ''
    if (char !== '\\') return [char.charCodeAt(0)]
    const next = this.#source[this.#at] ?? ''
    if (classes[next]) {
      this.#at++
      return [...(classes[next] ?? [])]
    }
    return [this.#escape().charCodeAt(0)]
  }

  #oneOf(codes: readonly number[]): string {
    return String.fromCharCode(codes[this.#pick(codes.length)] ?? 0x78)
  }
}

function range(low: number, high: number): number[] {
  return Array.from({length: high - low + 1}, (_, index) => low + index)
}
