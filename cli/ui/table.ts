import {visible} from '../../core/quote.js'

/** Aligned columns with upper-case heads, two spaces apart; hostile characters are escaped. */
export function table(heads: readonly string[], rows: readonly (readonly string[])[]): string {
  const cells = [
    heads.map((head) => head.toUpperCase()),
    ...rows.map((row) => row.map((cell) => visible(cell))),
  ]
  const widths = heads.map((_, column) => Math.max(...cells.map((row) => codePoints(row[column]))))
  return cells
    .map((row) =>
      row
        .map((cell, column) => cell + ' '.repeat((widths[column] ?? 0) - codePoints(cell)))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

function codePoints(text = ''): number {
  return Array.from(text).length
}

/** `1.5 GiB`, `312 MiB`, `0 B`. */
export function bytes(count: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  const step = count < 1 ? 0 : Math.min(Math.floor(Math.log2(count) / 10), units.length - 1)
  const value = count / 1024 ** step
  return `${step === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[step] ?? ''}`
}
