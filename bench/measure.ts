/** What a measurement ends with: one line of JSON. */
export interface Findings {
  bench: string
  /** ours divided by what it is compared with */
  ratios: Record<string, number>
  /** the most that a ratio or value of the same name may be */
  targets: Record<string, number>
  /** the least that they must be */
  least?: Record<string, number>
  /** measured values; the unit is in the name */
  values: Record<string, number>
}

/** Prints the findings and what they missed; the exit code is 1 when a target was missed. */
export function report(findings: Findings): void {
  const measured = {...findings.values, ...findings.ratios}
  const {bench, ratios, values, targets: most, least = {}} = findings
  const tooMuch = Object.entries(most).filter(([name, limit]) => !((measured[name] ?? NaN) <= limit))
  const tooLittle = Object.entries(least).filter(([name, limit]) => !((measured[name] ?? NaN) >= limit))
  const missed = [...tooMuch, ...tooLittle].map(([name]) => name)
  const targets = {...most, ...least}
  const line = {bench, ratios: rounded(ratios), targets, missed, values: rounded(values)}
  process.stdout.write(`${JSON.stringify(line)}\n`)
  if (missed.length > 0) process.exitCode = 1
}

function rounded(numbers: Record<string, number>): Record<string, number> {
  return Object.fromEntries(Object.entries(numbers).map(([name, n]) => [name, Math.round(n * 1000) / 1000]))
}

/** Times each function `rounds` times in turn, so that a slow minute meets all of them; milliseconds per name. */
export async function alternate<Name extends string>(
  rounds: number,
  contestants: Readonly<Record<Name, () => Promise<void>>>,
): Promise<Record<Name, number[]>> {
  const names = Object.keys(contestants) as Name[]
  const times = Object.fromEntries(names.map((name) => [name, []])) as unknown as Record<Name, number[]>
  for (let round = 0; round < rounds; round += 1) {
    for (const name of names) {
      const started = performance.now()
      await contestants[name]()
      times[name].push(performance.now() - started)
    }
    process.stderr.write(
      `round ${round + 1} of ${rounds}: ${names.map((name) => `${name} ${last(times[name])}`).join(' · ')}\n`,
    )
  }
  return times
}

export const minimum = (times: readonly number[]): number => Math.min(...times)

/** The middle one; of an even number the lower middle. */
export function median(times: readonly number[]): number {
  return [...times].sort((a, b) => a - b)[Math.floor((times.length - 1) / 2)] ?? NaN
}

function last(times: readonly number[]): string {
  const ms = times.at(-1) ?? NaN
  return ms < 1000 ? `${ms.toFixed(0)} ms` : `${(ms / 1000).toFixed(1)} s`
}
