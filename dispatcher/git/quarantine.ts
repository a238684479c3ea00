import {randomBytes} from 'node:crypto'
import {mkdir, rm} from 'node:fs/promises'
import {join} from 'node:path'
import {firstError, saysDiskFull, type GitPrograms} from './children.js'
import {write} from './lines.js'
import {fullVolume, PushRefused, tookTooLong} from './problem.js'
import type {Repository} from './repositories.js'

/** Old histories contain these and no reader is hurt by them. */
const harmless = [
  'zeroPaddedFilemode',
  'missingSpaceBeforeDate',
  'badTimezone',
  'missingEmail',
  'missingSpaceBeforeEmail',
]

export interface PackLimits {
  packBytes: number
  /** of the largest single allocation of the program that reads the pack */
  allocation: number
}

/** A directory of objects beside the repository: what is pushed lies here until it is judged, and nothing reads it but git. */
export class Quarantine {
  readonly path: string

  private constructor(path: string) {
    this.path = path
  }

  static async create(root: string): Promise<Quarantine> {
    const path = join(root, randomBytes(12).toString('hex'))
    await mkdir(join(path, 'pack'), {recursive: true, mode: 0o700})
    return new Quarantine(path)
  }

  static async removeAll(root: string): Promise<void> {
    await rm(root, {recursive: true, force: true})
    await mkdir(root, {recursive: true, mode: 0o700})
  }

  async remove(): Promise<void> {
    await rm(this.path, {recursive: true, force: true})
  }

  /**
   * Indexes one pack with full fsck; the stream never lies in memory as a whole.
   * @returns bytes read and the number of objects that the pack claims
   * @throws PushRefused when git refuses it
   */
  async index(
    git: GitPrograms,
    repository: Repository,
    pack: AsyncIterable<Buffer>,
    limits: PackLimits,
    signal: AbortSignal,
  ): Promise<{bytes: number; objects: number}> {
    const strict = `--strict=${harmless.map((id) => `${id}=ignore`).join(',')}`
    const child = git.start(
      ['index-pack', '--stdin', '--fix-thin', strict, `--max-input-size=${limits.packBytes}`],
      {directory: repository.directory, quarantine: this.path, allocation: limits.allocation},
      signal,
    )
    let stderr = ''
    child.stderr.on('data', (chunk: Buffer) => (stderr = (stderr + chunk.toString('latin1')).slice(-16_384)))
    child.stdout.resume()
    const header = Buffer.alloc(12)
    const end = new End(child.exit)
    let bytes = 0
    const chunks = pack[Symbol.asyncIterator]()
    try {
      for (;;) {
        // A client on a stateful connection does not end it: the program itself knows where the pack ends.
        const next = await end.or(chunks.next())
        if (next === 'ended' || next.done === true) break
        if (bytes < header.length) next.value.copy(header, bytes)
        bytes += next.value.length
        await write(child.stdin, next.value)
      }
    } catch (error) {
      child.kill('SIGKILL')
      throw error
    }
    child.stdin.end()
    const code = await child.exit
    if (code !== 0) throw refusal(stderr, signal, limits)
    return {bytes, objects: header.readUInt32BE(8)}
  }
}

/**
 * Waits for one thing after the other or for an end, whichever comes first. Promise.race would do, and keep everything that
 * was waited for until the end comes: the whole pack.
 */
class End {
  #isOver = false
  #tell: () => void = () => undefined

  constructor(end: Promise<unknown>) {
    const over = () => {
      this.#isOver = true
      this.#tell()
    }
    end.then(over, over)
  }

  or<T>(work: Promise<T>): Promise<T | 'ended'> {
    return new Promise((resolve, reject) => {
      this.#tell = () => resolve('ended')
      work.then(resolve, reject)
      if (this.#isOver) this.#tell()
    })
  }
}

function refusal(stderr: string, signal: AbortSignal, limits: PackLimits): PushRefused {
  if (signal.aborted) {
    return new PushRefused([tookTooLong])
  }
  if (saysDiskFull(stderr)) {
    return new PushRefused([fullVolume])
  }
  if (stderr.includes('maximum allowed size')) {
    return new PushRefused([
      {
        class: 'size',
        message: `the pack is larger than ${limits.packBytes} bytes`,
        short: 'pack exceeds the size limit',
        ruleId: 'limits.packBytes',
      },
    ])
  }
  const reason = firstError(stderr) || 'it cannot be read'
  return new PushRefused([
    {class: 'pack', message: `the pack was refused: ${reason}`, short: 'pack refused', ruleId: 'pack.strict'},
  ])
}
