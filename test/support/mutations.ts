import {readdirSync, readFileSync, writeFileSync} from 'node:fs'
import {seededRandom} from './secret-sample.js'

export interface Fuzzing {
  /** folder of examples; what a parser did not survive is kept there, so that it is tried at every later run */
  corpus: string
  rounds: number
  seed: number
  /** texts that mean something to this parser, to be put in anywhere */
  words: readonly string[]
}

/** Tries the corpus, and bytes that seeded changes make of it: always the same ones. */
export async function fuzz(
  {corpus, rounds, seed, words}: Fuzzing,
  survives: (bytes: Buffer) => void | Promise<void>,
): Promise<void> {
  const random = seededRandom(seed)
  const below = (n: number) => Math.floor(random() * n)
  const seeds = readdirSync(corpus).map((name) => readFileSync(`${corpus}/${name}`))
  if (seeds.length < 5) throw new Error(`${corpus} has too few examples`)
  for (const bytes of seeds) await survives(bytes)
  const one = <T>(list: readonly T[]) => list[below(list.length)]
  for (let round = 0; round < rounds; round++) {
    let bytes: Buffer = Buffer.from(one(seeds) ?? '')
    for (let n = below(4); n >= 0 && bytes.length > 0; n--) {
      const at = below(bytes.length)
      const other = one(seeds) ?? bytes
      const changes: (() => Buffer)[] = [
        () => Buffer.concat([bytes.subarray(0, at), Buffer.from([below(256)]), bytes.subarray(at + 1)]),
        () => Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1 + below(8))]),
        () => Buffer.concat([bytes.subarray(0, at), Buffer.from(one(words) ?? ''), bytes.subarray(at)]),
        () => Buffer.concat([bytes.subarray(0, at), other.subarray(below(other.length))]),
        () => Buffer.concat([bytes, bytes.subarray(at)]),
        () => bytes.subarray(0, at),
      ]
      bytes = one(changes)?.() ?? bytes
    }
    try {
      await survives(bytes)
    } catch (error) {
      writeFileSync(`${corpus}/found-${seed}-${round}`, bytes)
      throw error
    }
  }
}
