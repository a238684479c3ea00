import type {Readable, Writable} from 'node:stream'
import {createInterface} from 'node:readline'
import {unlink} from 'node:fs/promises'
import {CageError} from '../../core/errors.js'
import {visible} from '../../core/quote.js'
import {isObjectId} from '../../policy/ref-name.js'
import {listBranches} from '../../tasks/git/branches.js'
import type {FarEnd} from '../../tasks/git/far-end.js'
import type {LocalRepository} from '../../tasks/git/git-command.js'
import {push, type PushedRef} from '../../tasks/git/push.js'
import {receive} from '../../tasks/git/quarantine.js'

export interface HelperStreams {
  input: Readable
  output: Writable
  /** the person's terminal or log */
  messages: Writable
}

interface Options {
  progress: boolean
  verbosity: number
  atomic: boolean
  dryRun: boolean
  leases: string[]
}

/**
 * The far side of `git fetch` and `git push` on a `cage::` remote: gitremote-helpers(7), capabilities fetch, push and option.
 * Objects come in through the quarantine; git itself only moves the refs.
 */
export async function serveRemoteHelper(
  streams: HelperStreams,
  local: LocalRepository,
  connect: () => Promise<FarEnd>,
): Promise<void> {
  const options: Options = {progress: false, verbosity: 1, atomic: false, dryRun: false, leases: []}
  const answer = (text: string) => streams.output.write(text)
  const relayMessages = messageFilter(streams.messages)
  let farEnd: FarEnd | undefined
  const far = async () => (farEnd ??= await connect())
  const keeps: string[] = []
  let batch: string[] = []

  const flushBatch = async () => {
    const lines = batch
    batch = []
    if (lines[0]?.startsWith('fetch ')) {
      const oids = lines.map((line) => line.split(' ')[1] ?? '')
      const receipt = await receive(local, await far(), oids, {
        onMessage: relayMessages,
        quiet: !options.progress || options.verbosity < 1,
      })
      keeps.push(...receipt.keeps)
      const [first] = receipt.keeps
      answer(first === undefined ? '\n' : `lock ${first}\n\n`)
    } else if (lines.length > 0) {
      const pushed = await push(
        local,
        await far(),
        lines.map((line) => line.slice('push '.length)),
        {
          ...options,
          quiet: options.verbosity < 1,
          onMessage: relayMessages,
        },
      )
      answer(pushed.map(statusLine).join('') + '\n')
    }
  }

  try {
    for await (const line of createInterface({input: streams.input, crlfDelay: Infinity})) {
      if (line.startsWith('fetch ') || line.startsWith('push ')) batch.push(line)
      else if (line === '' && batch.length > 0) await flushBatch()
      else if (line === '') break
      else if (line === 'capabilities') answer('fetch\npush\noption\n\n')
      else if (line.startsWith('option ')) answer(setOption(options, line))
      else if (line === 'list' || line === 'list for-push') answer(await advertisement(local, await far()))
      else
        throw new CageError(`git asked for "${visible(line)}", which cage does not know`, {
          code: 'GIT_HELPER',
        })
    }
  } finally {
    // git is done with its refs once it closes our input.
    await Promise.all(keeps.map((keep) => unlink(keep).catch(() => undefined)))
  }
}

async function advertisement(local: LocalRepository, farEnd: FarEnd): Promise<string> {
  const {branches, head} = await listBranches(local, farEnd)
  const lines = branches.map(({branch, oid}) => `${oid} refs/heads/${branch}\n`)
  return [...(head === undefined ? [] : [`@refs/heads/${head} HEAD\n`]), ...lines, '\n'].join('')
}

function setOption(options: Options, line: string): string {
  const [, name = '', ...rest] = line.split(' ')
  const value = rest.join(' ')
  const flag = value === 'true'
  if (name === 'progress') options.progress = flag
  else if (name === 'verbosity') options.verbosity = Number(value)
  else if (name === 'atomic') options.atomic = flag
  else if (name === 'dry-run') options.dryRun = flag
  else if (name === 'cas' && isLease(value)) options.leases.push(value)
  else return 'unsupported\n'
  return 'ok\n'
}

function isLease(value: string): boolean {
  const at = value.lastIndexOf(':')
  const expected = value.slice(at + 1)
  return value.startsWith('refs/') && at > 0 && (expected === '' || isObjectId(expected))
}

function statusLine({ref, reason, upToDate}: PushedRef): string {
  if (reason !== undefined)
    return `error ${ref} ${visible(reason)}
`
  return `ok ${ref}${upToDate ? ' up to date' : ''}
`
}

/** What git children say, remote messages (band 2) among it: whole lines, with hostile characters escaped. */
export function messageFilter(output: Writable): (chunk: Buffer) => void {
  const decoder = new TextDecoder()
  let rest = ''
  return (chunk) => {
    rest += decoder.decode(chunk, {stream: true})
    const end = Math.max(rest.lastIndexOf('\n'), rest.lastIndexOf('\r'))
    if (end < 0 && rest.length < 4096) return
    const whole = end < 0 ? rest : rest.slice(0, end + 1)
    rest = rest.slice(whole.length)
    output.write(visible(whole, '\n\r'))
  }
}
