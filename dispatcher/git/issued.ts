import {readFile, readdir, rm} from 'node:fs/promises'
import {join} from 'node:path'
import {writeDurably} from '../../core/durable-file.js'
import {CageError, ExitCode} from '../../core/errors.js'
import type {Fingerprint} from '../../scan/exact.js'
import {isTaskName} from '../socket-api.js'

/** Under this name lie those of the upstreams' credentials. */
export const upstreamIssuer = '_upstream'

/**
 * Fingerprints of the values that cage gave to a task's sidecar or holds for an upstream: lengths and hashes, no value.
 * They are kept, so that a scanner that starts again knows them at once.
 */
export class IssuedValues {
  readonly #directory: string
  readonly #onChange: (all: readonly Fingerprint[]) => void
  readonly #byIssuer = new Map<string, readonly Fingerprint[]>()

  constructor(directory: string, onChange: (all: readonly Fingerprint[]) => void) {
    this.#directory = directory
    this.#onChange = onChange
  }

  async load(): Promise<void> {
    const names = await readdir(this.#directory).catch(() => [])
    for (const name of names.filter((one) => one.endsWith('.json'))) {
      const text = await readFile(join(this.#directory, name), 'utf8')
      this.#byIssuer.set(name.slice(0, -'.json'.length), checked(JSON.parse(text)))
    }
    this.#changed()
  }

  /** On disk before it resolves; every scan that begins afterwards knows them. */
  async put(issuer: string, value: unknown): Promise<void> {
    const fingerprints = checked(value)
    await writeDurably(this.#pathOf(issuer), JSON.stringify(fingerprints))
    this.#byIssuer.set(issuer, fingerprints)
    this.#changed()
  }

  async remove(issuer: string): Promise<void> {
    await rm(this.#pathOf(issuer), {force: true})
    if (this.#byIssuer.delete(issuer)) this.#changed()
  }

  #changed(): void {
    this.#onChange([...this.#byIssuer.values()].flat())
  }

  #pathOf(issuer: string): string {
    if (issuer !== upstreamIssuer && !isTaskName(issuer)) throw malformed('not the name of a task')
    return join(this.#directory, `${issuer}.json`)
  }
}

function checked(value: unknown): readonly Fingerprint[] {
  const isFingerprint = (one: unknown) => {
    const {id, form, length, anchor, sha256} = (one ?? {}) as Partial<Record<keyof Fingerprint, unknown>>
    return (
      [id, form, sha256].every((text) => typeof text === 'string') &&
      [length, anchor].every((number) => Number.isSafeInteger(number) && Number(number) >= 0)
    )
  }
  if (!Array.isArray(value) || !value.every(isFingerprint)) throw malformed('these are no fingerprints')
  return value as Fingerprint[]
}

function malformed(message: string): CageError {
  return new CageError(message, {code: 'ISSUED_VALUES', exitCode: ExitCode.usage})
}
