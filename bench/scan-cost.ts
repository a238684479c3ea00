import {readdirSync, readFileSync, statSync} from 'node:fs'
import {join} from 'node:path'
import type {Scanner} from '../scan/scanner.js'
import {scanWithGitleaks} from './gitleaks.js'

const MB = 1_000_000
export const CODE_BYTES = 24_000_000

/** Code and text of the packages that this repository depends on. */
export function sourceFiles(most = CODE_BYTES): {files: {path: string; bytes: Buffer}[]; bytes: number} {
  const files: {path: string; bytes: Buffer}[] = []
  let bytes = 0
  for (const path of readdirSync('node_modules', {recursive: true, encoding: 'utf8'}).sort()) {
    if (!/\.(?:[cm]?[jt]s|json|md|ya?ml)$/.test(path)) continue
    const {size} = statSync(join('node_modules', path))
    if (size === 0 || size > 200_000) continue
    files.push({path, bytes: readFileSync(join('node_modules', path))})
    bytes += size
    if (bytes >= most) break
  }
  return {files, bytes}
}

/** The better of two runs: the first warms the compiler up. */
export function cpuMsPerMb(scanner: Scanner, bodies: readonly Buffer[]): number {
  const bytes = bodies.reduce((sum, {length}) => sum + length, 0)
  const once = () => {
    const started = process.cpuUsage()
    for (const body of bodies) scanner.scan(body)
    const {user, system} = process.cpuUsage(started)
    return (user + system) / 1000 / (bytes / MB)
  }
  return Math.min(once(), once())
}

/** The same of gitleaks, without its start. */
export async function gitleaksMsPerMb(
  program: string,
  folder: string,
  bodies: readonly Buffer[],
): Promise<number> {
  const empty = await scanWithGitleaks(program, folder, Buffer.alloc(0))
  const whole = Buffer.concat(bodies)
  const all = await scanWithGitleaks(program, folder, whole)
  return (all.cpuMs - empty.cpuMs) / (whole.length / MB)
}
