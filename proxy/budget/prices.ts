/** What a model costs, as vendors publish it: US dollars for a million tokens. */
export interface Price {
  input: number
  output: number
  /** of input that was read from, written to a cache; absent = as input */
  cacheRead?: number
  cacheWrite?: number
  /** written to keep for an hour */
  cacheWriteLong?: number
  /** dearer when the input is longer than so many tokens */
  long?: {above: number; input: number; output: number}
}

/** Tokens of one call, each counted in one place only. */
export interface Usage {
  input: number
  cacheRead: number
  cacheWrite: number
  cacheWriteLong: number
  output: number
}

export const noUsage: Usage = {input: 0, cacheRead: 0, cacheWrite: 0, cacheWriteLong: 0, output: 0}

const anthropic = (input: number, output: number): Price => ({
  input,
  output,
  cacheRead: input / 10,
  cacheWrite: input * 1.25,
  cacheWriteLong: input * 2,
})
const long = {above: 200_000, input: 2, output: 1.5}
const openai = (input: number, output: number, cacheRead = input / 10): Price => ({input, output, cacheRead})

/**
 * By the start of the model's name, the longest that fits. The shortest of each vendor stands for what is not known
 * yet, and is the dearest, so that a budget in dollars is never overdrawn by a new name.
 */
const table: Readonly<Record<string, Price>> = {
  'claude-': anthropic(15, 75),
  'claude-3-haiku': anthropic(0.25, 1.25),
  'claude-3-5-haiku': anthropic(0.8, 4),
  'claude-3-5-sonnet': anthropic(3, 15),
  'claude-3-7-sonnet': anthropic(3, 15),
  'claude-haiku-4': anthropic(1, 5),
  'claude-sonnet-4': {...anthropic(3, 15), long},
  'claude-sonnet-5': anthropic(2, 10),
  'claude-opus-4-5': anthropic(5, 25),
  'claude-opus-4-6': anthropic(5, 25),
  'claude-opus-4-7': anthropic(5, 25),
  'claude-opus-4-8': anthropic(5, 25),
  'claude-opus-5': anthropic(5, 25),
  'claude-haiku-5': anthropic(1, 5),
  'claude-haiku-5-5': anthropic(0.5, 2.5),
  'claude-fable-5': anthropic(10, 50),
  'claude-mythos-5': anthropic(10, 50),
  'gpt-3.5': openai(1.5, 2, 1.5),
  'gpt-4': openai(30, 60, 30),
  'gpt-4-turbo': openai(10, 30, 10),
  'gpt-4o': openai(5, 15, 2.5),
  'gpt-4o-mini': openai(0.15, 0.6, 0.075),
  'gpt-4.1': openai(2, 8, 0.5),
  'gpt-4.1-mini': openai(0.4, 1.6, 0.1),
  'gpt-4.1-nano': openai(0.1, 0.4, 0.025),
  'gpt-5': openai(1.25, 10),
  'gpt-5-mini': openai(0.25, 2),
  'gpt-5-nano': openai(0.05, 0.4),
  'gpt-5-pro': openai(15, 120, 15),
  'gpt-5.': openai(21, 168, 21),
  'gpt-5.1': openai(1.25, 10),
  'gpt-5.1-codex-mini': openai(0.25, 2),
  'gpt-5.2': openai(1.75, 14),
  'gpt-5.2-pro': openai(21, 168, 21),
  'codex-mini': openai(1.5, 6, 0.375),
  o1: openai(15, 60, 7.5),
  'o1-pro': openai(150, 600, 150),
  'o1-mini': openai(1.1, 4.4, 0.55),
  o3: openai(2, 8, 0.5),
  'o3-mini': openai(1.1, 4.4, 0.55),
  'o3-pro': openai(20, 80, 20),
  'o4-mini': openai(1.1, 4.4, 0.275),
  'text-embedding-': openai(0.13, 0, 0.13),
  'gemini-': {input: 4, output: 18, cacheRead: 0.4},
  'gemini-2.5-pro': {input: 1.25, output: 10, cacheRead: 0.125, long},
  'gemini-2.5-flash': {input: 1, output: 2.5, cacheRead: 0.1},
  'gemini-2.0-flash': {input: 0.7, output: 0.4, cacheRead: 0.175},
  'gemini-3-pro': {input: 2, output: 12, cacheRead: 0.2, long},
  'gemini-3.1-pro': {input: 2, output: 12, cacheRead: 0.2, long},
}

const unknown: Price = {input: 150, output: 600}
const free: Price = {input: 0, output: 0}

/** @param own the model runs on the person's own computers: it costs nothing */
export function priceOf(model: string, own: boolean): Price {
  if (own) return free
  const name = model.replace(/^models\//, '').toLowerCase()
  const known = Object.keys(table)
    .filter((start) => name.startsWith(start))
    .sort((a, b) => b.length - a.length)[0]
  return (known === undefined ? undefined : table[known]) ?? unknown
}

export function tokensOf(usage: Usage): number {
  return usage.input + usage.cacheRead + usage.cacheWrite + usage.cacheWriteLong + usage.output
}

/** Thousand millionths of a US dollar, whole. */
export function costOf(price: Price, usage: Usage, factor = 1): number {
  const {input, output, cacheRead = input, cacheWrite = input, cacheWriteLong = cacheWrite} = price
  const isLong = price.long !== undefined && tokensOf(usage) - usage.output > price.long.above
  const inputs =
    usage.input * input +
    usage.cacheRead * cacheRead +
    usage.cacheWrite * cacheWrite +
    usage.cacheWriteLong * cacheWriteLong
  const dollars =
    inputs * (isLong ? (price.long?.input ?? 1) : 1) +
    usage.output * output * (isLong ? (price.long?.output ?? 1) : 1)
  return Math.ceil(dollars * factor * 1000)
}

/** The most that so many tokens can cost: all of the input at its dearest. */
export function mostOf(price: Price, input: number, output: number, factor = 1): number {
  const {cacheWrite = 0, cacheWriteLong = 0} = price
  const dearest = {...price, input: Math.max(price.input, cacheWrite, cacheWriteLong)}
  return costOf(dearest, {...noUsage, input, output}, factor)
}
