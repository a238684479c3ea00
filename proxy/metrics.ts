/** Counters for people and Prometheus. Labels are decisions and reasons, never hosts or paths, which agents choose. */
export class Metrics {
  readonly #counters = new Map<string, number>()

  add(name: string, labels: Record<string, string>, amount = 1): void {
    const text = Object.entries(labels).map(([key, value]) => `${key}="${value}"`)
    const line = `cage_${name}${text.length > 0 ? `{${text.join(',')}}` : ''}`
    this.#counters.set(line, (this.#counters.get(line) ?? 0) + amount)
  }

  text(): string {
    return [...this.#counters]
      .map(([line, value]) => `${line} ${value}\n`)
      .sort()
      .join('')
  }
}
