/** How long a new revision takes to be in force while the sidecar is busy. */
import {setTimeout as sleep} from 'node:timers/promises'
import {askControl} from '../../proxy/control.js'
import {egressRule} from '../../test/support/grants.js'
import {fileOf, signedRevision} from './grant.js'
import {Client, open, requestBytes} from './load.js'
import {originAddress, originHost} from './world.js'

const TURNS = 20
const PAUSE_MS = 150
const DEADLINE_MS = 10_000
export const LIVE_POLICY_SECONDS = 6

const denied = egressRule({id: 'toggled', effect: 'deny', host: originHost, paths: ['/toggled']})

/**
 * Milliseconds from the write to the sidecar's socket to the end of the first request that the new revision judged: one
 * that denies an address, and one that lets it through again, in turns.
 */
export async function livePolicyMs(directory: string, proxyPort: number): Promise<number[]> {
  const load = {
    kind: 'requests',
    address: originAddress,
    proxyPort,
    path: '/toggled',
    connections: 1,
    seconds: 1,
  } as const
  const request = requestBytes(load, false)
  let client = new Client(await open(load, 'http/1.1'))
  const statusNow = async () => {
    const status = await client.send(request)
    // What was under way and is no longer allowed is cut off.
    if (status === 0) client = new Client(await open(load, 'http/1.1'))
    return status
  }
  const times: number[] = []
  for (let turn = 0; turn < TURNS; turn++) {
    const denies = turn % 2 === 0
    const part = signedRevision(directory, turn + 2, denies ? [denied] : [])
    const message = JSON.stringify({op: 'grant.put', part, credentials: {}})
    await sleep(PAUSE_MS)
    const started = performance.now()
    const acknowledged = askControl(fileOf(directory, 'state/control.sock'), message)
    let isInForce = false
    while (!isInForce && performance.now() - started < DEADLINE_MS)
      isInForce = ((await statusNow()) === 403) === denies
    times.push(performance.now() - started)
    const {ok, error} = await acknowledged
    if (!ok || !isInForce) throw new Error(`a new revision is not in force: ${error?.message ?? 'too late'}`)
  }
  client.end()
  return times
}
