/** Sizes and durations as people write them. */

const sizes: Record<string, number> = {
  B: 1,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
  TiB: 2 ** 40,
}
const seconds: Record<string, number> = {s: 1, m: 60, h: 3600, d: 86400}

export const sizePattern = '^(?:0|[1-9][0-9]{0,11})(?:\\.[0-9]{1,3})?(?:B|[KMGT]i?B)$'
export const durationPattern = '^[1-9][0-9]{0,5}(?:s|m|h|d)$'

/** Bytes of `8GiB`; undefined when it is no size. */
export function parseSize(text: string): number | undefined {
  const match = /^([0-9.]+)([A-Za-z]+)$/.exec(text)
  const unit = sizes[match?.[2] ?? '']
  return match && unit !== undefined && new RegExp(sizePattern).test(text)
    ? Math.floor(Number(match[1]) * unit)
    : undefined
}

/** Seconds of `4h`; undefined when it is no duration. */
export function parseDuration(text: string): number | undefined {
  const match = /^([0-9]+)([smhd])$/.exec(text)
  const unit = seconds[match?.[2] ?? '']
  return match && unit !== undefined && new RegExp(durationPattern).test(text)
    ? Number(match[1]) * unit
    : undefined
}
