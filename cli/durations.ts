import {CageError, ExitCode} from '../core/errors.js'

const UNITS: Readonly<Record<string, number>> = {s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000}

/** `90s`, `5m`, `1h`, `7d` as milliseconds. Errors: USAGE, exit 2. */
export function parseDuration(flag: string, text: string): number {
  const match = /^(\d{1,6})([smhd])$/.exec(text)
  const factor = UNITS[match?.[2] ?? '']
  if (match && factor !== undefined && Number(match[1]) > 0) return Number(match[1]) * factor
  throw new CageError(`${flag} is not a duration: ${JSON.stringify(text)}`, {
    code: 'USAGE',
    exitCode: ExitCode.usage,
    hints: ['Write it as 90s, 5m, 1h or 7d.'],
  })
}

/** A duration ago, or a moment in RFC 3339; milliseconds since the epoch. Errors: USAGE, exit 2. */
export function parseSince(flag: string, text: string, now: number): number {
  const moment = /^\d{4}-\d\d-\d\d/.test(text) ? Date.parse(text) : Number.NaN
  return Number.isNaN(moment) ? now - parseDuration(flag, text) : moment
}
