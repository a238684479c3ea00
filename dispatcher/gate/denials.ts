import type {IncomingMessage} from 'node:http'
import type {Clock} from '../../core/clock.js'
import {messageOf} from '../../core/errors.js'
import type {ScanAnswer} from '../socket-api.js'
import type {SocketClient} from '../socket-client.js'
import {Bucket} from './limits.js'
import type {Route} from './route.js'

const AT_ONCE = 20
const PER_SECOND = 0.2

export interface Denial {
  ruleId: string
  reason: string
  /** absent when nobody knows who asks */
  task?: string
}

/** Records of what was refused before the `git` container saw it; so many of each task that nobody fills the journal. */
export class Denials {
  readonly #git: SocketClient
  readonly #clock: Clock
  readonly #log: (text: string) => void
  readonly #buckets = new Map<string, Bucket>()

  constructor({git, clock, log}: {git: SocketClient; clock: Clock; log: (text: string) => void}) {
    this.#git = git
    this.#clock = clock
    this.#log = log
  }

  /** A denial stands whether or not it could be recorded. */
  async record(request: IncomingMessage, route: Route, {ruleId, reason, task = ''}: Denial): Promise<void> {
    const bucket = this.#buckets.get(task) ?? new Bucket(AT_ONCE, PER_SECOND, this.#clock)
    this.#buckets.set(task, bucket)
    if (!bucket.take()) return
    try {
      const record = {
        phase: 'decision',
        op: opOf(route),
        decision: 'deny',
        ...(task === '' ? {} : {task}),
        ruleId: [ruleId],
        reason: [await this.#withoutSecret(reason)],
        podIp: request.socket.remoteAddress,
      }
      await this.#git.json({method: 'POST', path: '/journal', body: JSON.stringify(record)})
    } catch (error) {
      this.#log(messageOf(error))
    }
  }

  /** A reason can name what the agent chose. */
  async #withoutSecret(reason: string): Promise<string> {
    const body = JSON.stringify({texts: [reason]})
    const [found] = await this.#git.json<ScanAnswer>({method: 'POST', path: '/scan', body})
    return found?.length === 0 ? reason : '(a text that looks like a secret)'
  }
}

/** What was tried. */
function opOf(route: Route): string {
  if (route.kind === 'advertise') return route.service === 'git-receive-pack' ? 'push' : 'fetch'
  return route.kind
}
