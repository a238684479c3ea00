import {appendFileSync, existsSync, readFileSync} from 'node:fs'
import {join} from 'node:path'

const FILE = 'names'
/** 198.18.0.1; the range ends at 198.19.255.255 */
const FIRST = 0xc612_0001
/** Distinct names per pod. Wildcard names are the agent's to choose, so they get the smaller share. */
const MAX_NAMES = 16_384
const MAX_WILDCARD_NAMES = 256
/** What may stand in place of `*`: real sub-domains fit, data in labels is cut to a trickle. */
const MAX_WILDCARD_LABELS = 4
const MAX_WILDCARD_LENGTH = 63

/**
 * The one table of names a task may speak to: each gets an address of 198.18.0.0/15 for the life of the pod, never
 * used again, kept on the memory volume because agents cache addresses over a restart of the sidecar. A name enters
 * only after policy allowed it, and nothing is resolved before it is in here; so the size bounds DNS tunnels.
 */
export class SyntheticNames {
  readonly #path: string
  readonly #byName = new Map<string, string>()
  readonly #byAddress = new Map<string, string>()
  #next = FIRST
  #wildcards = 0

  constructor(stateDirectory: string) {
    this.#path = join(stateDirectory, FILE)
    if (!existsSync(this.#path)) return
    for (const line of readFileSync(this.#path, 'utf8').split('\n')) {
      // A line that a crash cut short was never answered with, so skipping it is safe.
      const [, name, number, kind] = /^(\S+) (\d+) ([=*])$/.exec(line) ?? []
      if (name !== undefined && number !== undefined) this.#enter(name, Number(number), kind === '*')
    }
  }

  /**
   * The name's address, made on first use; undefined when the budget of names is spent.
   * @param wildcard the part of the name that a `*` stood for
   */
  admit(name: string, wildcard?: string): string | undefined {
    const known = this.#byName.get(name)
    if (known !== undefined) return known
    if (this.#byName.size >= MAX_NAMES) return undefined
    if (wildcard !== undefined) {
      if (this.#wildcards >= MAX_WILDCARD_NAMES || wildcard.length > MAX_WILDCARD_LENGTH) return undefined
      if (wildcard.split('.').length > MAX_WILDCARD_LABELS) return undefined
    }
    // The newline in front ends whatever a crash may have left.
    appendFileSync(this.#path, `\n${name} ${this.#next} ${wildcard === undefined ? '=' : '*'}\n`, {
      mode: 0o600,
    })
    return this.#enter(name, this.#next, wildcard !== undefined)
  }

  /** The name behind a local address of an intercepted connection. */
  nameOf(address: string): string | undefined {
    return this.#byAddress.get(address)
  }

  get size(): number {
    return this.#byName.size
  }

  #enter(name: string, number: number, wildcard: boolean): string {
    const address = [24, 16, 8, 0].map((shift) => (number >>> shift) & 0xff).join('.')
    this.#byAddress.set(address, name)
    this.#byName.set(name, address)
    this.#next = Math.max(this.#next, number + 1)
    if (wildcard) this.#wildcards++
    return address
  }
}

/** Whether an address lies in 198.18.0.0/15. */
export function isSynthetic(address: string): boolean {
  return /^198\.1[89]\./.test(address)
}
