type Labels = Readonly<Record<string, string>>

interface Histogram {
  /** how many fell into each bucket and into none of those below; the last is for what exceeds all of them */
  counts: number[]
  sum: number
}

/** Nothing that an agent chooses is a label; this bounds what a mistake could cost. */
const MAX_SERIES = 1000
/** seconds */
const BUCKETS = [0.005, 0.025, 0.1, 0.5, 2.5, 10, 60]

/**
 * Numbers for people and Prometheus, in its text format. Labels are decisions, reasons and ids of rules, never hosts or
 * paths, which agents choose.
 */
export class Metrics {
  readonly #counters = new Map<string, Map<string, number>>()
  readonly #histograms = new Map<string, Histogram>()
  readonly #gauges = new Map<string, () => number>()

  add(name: string, labels: Labels, amount = 1): void {
    let series = this.#counters.get(name)
    if (!series) this.#counters.set(name, (series = new Map<string, number>()))
    const text = textOf(labels)
    const known = series.get(text)
    if (known === undefined && series.size >= MAX_SERIES) return
    series.set(text, (known ?? 0) + amount)
  }

  /** One more that took so long. */
  observe(name: string, seconds: number): void {
    let histogram = this.#histograms.get(name)
    if (!histogram) {
      histogram = {counts: new Array<number>(BUCKETS.length + 1).fill(0), sum: 0}
      this.#histograms.set(name, histogram)
    }
    let bucket = 0
    while (seconds > (BUCKETS[bucket] ?? Infinity)) bucket++
    histogram.counts[bucket] = (histogram.counts[bucket] ?? 0) + 1
    histogram.sum += seconds
  }

  /** What is read when somebody asks. */
  gauge(name: string, read: () => number): void {
    this.#gauges.set(name, read)
  }

  text(): string {
    const counted = [...this.#counters].map(([name, series]): [string, string[]] => [
      name,
      [
        `# TYPE cage_${name} counter`,
        ...[...series].map(([labels, value]) => `cage_${name}${labels} ${value}`),
      ],
    ])
    const timed = [...this.#histograms].map(([name, histogram]): [string, string[]] => [
      name,
      [`# TYPE cage_${name} histogram`, ...histogramLines(`cage_${name}`, histogram)],
    ])
    const read = [...this.#gauges].map(([name, value]): [string, string[]] => [
      name,
      [`# TYPE cage_${name} gauge`, `cage_${name} ${value()}`],
    ])
    return [...counted, ...timed, ...read]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([, lines]) => `${lines.join('\n')}\n`)
      .join('')
  }
}

/** Each bucket counts what the smaller ones count as well. */
function histogramLines(name: string, {counts, sum}: Histogram): string[] {
  let count = 0
  const buckets = counts.map((more, index) => {
    count += more
    return `${name}_bucket{le="${BUCKETS[index] ?? '+Inf'}"} ${count}`
  })
  return [...buckets, `${name}_sum ${sum}`, `${name}_count ${count}`]
}

function textOf(labels: Labels): string {
  let text = ''
  for (const key in labels) text += `${text === '' ? '{' : ','}${key}="${escaped(labels[key] ?? '')}"`
  return text === '' ? '' : `${text}}`
}

function escaped(value: string): string {
  if (!/["\\\n]/.test(value)) return value
  return value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')
}
