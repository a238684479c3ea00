type Labels = Readonly<Record<string, string>>

interface Family {
  type: 'counter' | 'histogram'
  series: Map<string, number>
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
  readonly #families = new Map<string, Family>()
  readonly #gauges = new Map<string, () => number>()

  add(name: string, labels: Labels, amount = 1): void {
    this.#raise(name, 'counter', name + textOf(labels), amount)
  }

  /** One more that took so long. */
  observe(name: string, seconds: number): void {
    for (const bucket of BUCKETS) {
      const amount = seconds <= bucket ? 1 : 0
      this.#raise(name, 'histogram', `${name}_bucket{le="${bucket}"}`, amount)
    }
    this.#raise(name, 'histogram', `${name}_bucket{le="+Inf"}`, 1)
    this.#raise(name, 'histogram', `${name}_sum`, seconds)
    this.#raise(name, 'histogram', `${name}_count`, 1)
  }

  /** What is read when somebody asks. */
  gauge(name: string, read: () => number): void {
    this.#gauges.set(name, read)
  }

  text(): string {
    const counted = [...this.#families].map(([name, {type, series}]): [string, string[]] => [
      name,
      [`# TYPE cage_${name} ${type}`, ...[...series].map(([line, value]) => `cage_${line} ${value}`)],
    ])
    const read = [...this.#gauges].map(([name, value]): [string, string[]] => [
      name,
      [`# TYPE cage_${name} gauge`, `cage_${name} ${value()}`],
    ])
    return [...counted, ...read]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([, lines]) => `${lines.join('\n')}\n`)
      .join('')
  }

  #raise(name: string, type: Family['type'], line: string, amount: number): void {
    const family = this.#families.get(name) ?? {type, series: new Map<string, number>()}
    this.#families.set(name, family)
    const known = family.series.get(line)
    if (known === undefined && family.series.size >= MAX_SERIES) return
    family.series.set(line, (known ?? 0) + amount)
  }
}

function textOf(labels: Labels): string {
  const text = Object.entries(labels).map(([key, value]) => `${key}="${escaped(value)}"`)
  return text.length > 0 ? `{${text.join(',')}}` : ''
}

function escaped(value: string): string {
  return value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')
}
