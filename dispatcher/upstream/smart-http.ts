import {readdir, rename} from 'node:fs/promises'
import {join} from 'node:path'
import type {Writable} from 'node:stream'
import {syncDirectory} from '../../core/durable-file.js'
import type {GitPrograms} from '../git/children.js'
import {write} from '../git/lines.js'
import type {Mirrors} from '../git/mirrors.js'
import type {Repository} from '../git/repositories.js'
import {errorIn, type SocketClient} from '../socket-client.js'
import {commandsHeader, requestHeader, type UpstreamCommands} from '../socket-api.js'
import {readPushResult, type PushResult} from '../wire/push-result.js'
import {zeroId, type RefCommand} from '../wire/receive-request.js'
import {plain} from '../wire/text.js'
import {settled} from './settled.js'
import type {AcceptedPush, RefOutcome, Upstream} from './upstream.js'

const MAX_REASON = 90

/** Any server that speaks git over HTTPS: the pack is built here, `gate` sends it, the mirror follows. */
export class SmartHttpUpstream implements Upstream {
  readonly #git: GitPrograms
  readonly #mirrors: Mirrors
  readonly #gate: SocketClient
  readonly #log: (text: string) => void

  constructor(parts: {git: GitPrograms; mirrors: Mirrors; gate: SocketClient; log: (text: string) => void}) {
    this.#git = parts.git
    this.#mirrors = parts.mirrors
    this.#gate = parts.gate
    this.#log = parts.log
  }

  async publish(push: AcceptedPush): Promise<RefOutcome[]> {
    const offered = await this.#mirrors.capabilities(push.repository.name)
    if (push.atomic && !offered.has('atomic'))
      return push.commands.map(({ref}) => ({
        ref,
        state: 'refused',
        reason: 'the upstream knows no atomic push',
      }))
    const result = await this.#send(push, offered)
    for (const message of result.messages) push.say(`upstream: ${message}`)
    const outcomes = push.commands.map((command) => outcomeOf(command, result))
    await this.#follow(push, outcomes)
    return outcomes
  }

  async settle(repository: Repository, commands: readonly RefCommand[]): Promise<RefOutcome[]> {
    const {refs} = await this.#mirrors.advertisement(repository.name, 'git-receive-pack')
    return settled(commands, refs)
  }

  async #send(push: AcceptedPush, offered: ReadonlySet<string>): Promise<PushResult> {
    const {repository, commands, signal} = push
    const sideBand = offered.has('side-band-64k')
    const wanted: UpstreamCommands = {
      commands: commands.map(({old, new: next, ref}) => ({old, new: next, ref})),
      capabilities: [
        ...['report-status', 'side-band-64k', 'quiet', ...(push.atomic ? ['atomic'] : [])].filter((name) =>
          offered.has(name),
        ),
        ...(offered.has('object-format') ? [`object-format=${repository.format}`] : []),
        'agent=cage',
      ],
    }
    const headers = {
      [requestHeader]: push.request,
      [commandsHeader]: Buffer.from(JSON.stringify(wanted)).toString('base64'),
    }
    const zero = zeroId(repository.format)
    const tips = commands.filter((command) => command.new !== zero).map((command) => command.new)
    const path = `/upstream/${encodeURIComponent(repository.name)}/git-receive-pack`
    if (tips.length === 0)
      return this.#answer(await this.#gate.call({method: 'POST', path, headers, signal}), sideBand)
    const stop = new AbortController()
    const both = AbortSignal.any([signal, stop.signal])
    // Deltas that the client made are used again, none are searched for.
    const args = ['pack-objects', '--revs', '--stdout', '--thin', '--delta-base-offset', '--window=0', '-q']
    const child = this.#git.start(args, {directory: repository.directory, quarantine: push.quarantine}, both)
    child.stderr.resume()
    try {
      const feeding = feed(child.stdin, tips, new Set(push.known.values()))
      const answer = await this.#gate.call({method: 'POST', path, headers, body: child.stdout, signal: both})
      await feeding
      return await this.#answer(answer, sideBand)
    } catch (error) {
      stop.abort()
      throw error
    }
  }

  async #answer(
    {status, body}: Awaited<ReturnType<SocketClient['call']>>,
    sideBand: boolean,
  ): Promise<PushResult> {
    if (status !== 200) throw await errorIn(body)
    return readPushResult(body, sideBand)
  }

  /** The upstream has it, so the mirror may; when this fails, the next refresh fetches it. */
  async #follow(
    {repository, commands, quarantine}: AcceptedPush,
    outcomes: readonly RefOutcome[],
  ): Promise<void> {
    const done = commands.filter(({ref}) => outcomes.some((one) => one.ref === ref && one.state === 'done'))
    if (done.length === 0) return
    try {
      if (quarantine !== '')
        await adoptPacks(join(quarantine, 'pack'), join(repository.directory, 'objects', 'pack'))
      this.#mirrors.note(repository, new Map(done.map((command) => [command.ref, command.new])))
    } catch (error) {
      this.#log(`mirror of ${repository.name}: ${String(error)}`)
    }
  }
}

/** `--revs` of pack-objects: what to send, and what is there already. */
async function feed(stdin: Writable, tips: readonly string[], known: ReadonlySet<string>): Promise<void> {
  for (const id of tips) await write(stdin, `${id}\n`)
  for (const id of known) await write(stdin, `^${id}\n`)
  stdin.end()
}

/** The index goes last: a pack without one is not part of a repository. */
async function adoptPacks(from: string, to: string): Promise<void> {
  const names = await readdir(from)
  for (const suffix of ['.pack', '.rev', '.idx'])
    for (const name of names.filter((one) => one.endsWith(suffix)))
      await rename(join(from, name), join(to, name))
  await syncDirectory(to)
}

function outcomeOf({ref}: RefCommand, {unpack, refs}: PushResult): RefOutcome {
  if (unpack !== 'ok') return {ref, state: 'refused', reason: short(`upstream could not unpack: ${unpack}`)}
  if (!refs.has(ref))
    return {ref, state: 'unknown', reason: 'the upstream said nothing about it: fetch first'}
  const reason = refs.get(ref)
  return reason === undefined
    ? {ref, state: 'done'}
    : {ref, state: 'refused', reason: short(`upstream: ${reason}`)}
}

function short(text: string): string {
  return plain(text, MAX_REASON)
}
