import {CageError, ExitCode} from '../core/errors.js'

export const KiB = 1024
export const MiB = 1024 ** 2
export const GiB = 1024 ** 3

/** Bytes as a Kubernetes quantity, rounded down to KiB: `4Gi`, `1536Mi`, `64Ki`. */
export function bytesQuantity(bytes: number): string {
  if (!Number.isSafeInteger(bytes) || bytes < KiB) {
    throw new CageError(`${bytes} is no usable size in bytes`, {
      code: 'SIZE_INVALID',
      exitCode: ExitCode.usage,
    })
  }
  for (const [unit, size] of [
    ['Gi', GiB],
    ['Mi', MiB],
  ] as const) {
    if (bytes % size === 0) return `${bytes / size}${unit}`
  }
  return `${Math.floor(bytes / KiB)}Ki`
}

/** Cores as a Kubernetes quantity: 2 → `2`, 0.5 → `500m`. */
export function cpuQuantity(cores: number): string {
  if (!Number.isFinite(cores) || cores < 0.001) {
    throw new CageError(`${cores} is no usable number of processors`, {
      code: 'SIZE_INVALID',
      exitCode: ExitCode.usage,
    })
  }
  return Number.isInteger(cores) ? String(cores) : `${Math.round(cores * 1000)}m`
}
