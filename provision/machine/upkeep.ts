import {readFile} from 'node:fs/promises'
import {join} from 'node:path'
import {output} from '../transport/output.js'
import type {Transport} from '../transport/transport.js'

/** One thing that keeps a machine of cage's own in order. */
export interface Upkeep {
  /** `updates`, `clock`, `journal` or `disk` */
  name: string
  on: boolean
  /** for the person */
  detail: string
}

/** Security updates, the clock and the journal of a guest's own system. */
export class GuestUpkeep {
  private readonly host: Transport
  private readonly script: string

  /** `host` is root of the guest's own system, not of a node in it. */
  constructor(host: Transport, packageRoot: string) {
    this.host = host
    this.script = join(packageRoot, 'provision/guest/vm/upkeep.sh')
  }

  async apply(signal: AbortSignal): Promise<void> {
    await this.ask('apply', signal)
  }

  async state(signal: AbortSignal): Promise<Upkeep[]> {
    const lines = (await this.ask('state', signal)).trim().split('\n')
    return lines.map((line) => {
      const [name = '', state, ...detail] = line.split(' ')
      return {name, on: state === 'on', detail: detail.join(' ')}
    })
  }

  private async ask(what: 'apply' | 'state', signal: AbortSignal): Promise<string> {
    const input = await readFile(this.script)
    return output(this.host, {argv: ['sh', '-s', what], input, signal, timeoutMs: 120_000})
  }
}
