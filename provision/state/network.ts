import {readdir} from 'node:fs/promises'
import {join} from 'node:path'
import {CageError, ExitCode} from '../../core/errors.js'
import {projectFiles} from './layout.js'
import {readMachineRecord, type ProjectNetwork} from './machine-record.js'

export const FIRST_NETWORK = 200
const LAST = 254

/** The n-th /16 that projects take: link, pods and services side by side. */
export function networkOf(second: number): ProjectNetwork {
  const at = (rest: string) => `10.${second}.${rest}`
  return {
    range: at('0.0/16'),
    host: at('0.1/30'),
    machine: at('0.2/30'),
    pods: at('64.0/18'),
    services: at('128.0/18'),
  }
}

/**
 * A /16 that neither another project nor this computer's own networks use. `inUse` are CIDRs and addresses of its
 * interfaces, routes and resolvers. Errors: NETWORK_FULL (exit 3).
 */
export async function freeNetwork(stateHome: string, inUse: readonly string[]): Promise<ProjectNetwork> {
  const taken = new Set([...(await rangesOfProjects(stateHome)), ...inUse])
  for (let second = FIRST_NETWORK; second <= LAST; second++) {
    const network = networkOf(second)
    if (![...taken].some((cidr) => overlaps(cidr, network.range))) return network
  }
  throw new CageError(`no free network from 10.${FIRST_NETWORK}.0.0/16 to 10.${LAST}.0.0/16`, {
    code: 'NETWORK_FULL',
    exitCode: ExitCode.precondition,
    hints: ['Run `cage list` and destroy a project that you do not need any more.'],
  })
}

async function rangesOfProjects(stateHome: string): Promise<string[]> {
  const ids = await readdir(join(stateHome, 'cage')).catch(() => [])
  const ranges: string[] = []
  for (const id of ids) {
    const record = await readMachineRecord(projectFiles(stateHome, id).record).catch(() => undefined)
    if (record?.network) ranges.push(record.network.range)
  }
  return ranges
}

/** Two IPv4 CIDRs or addresses; anything else overlaps nothing. */
export function overlaps(one: string, other: string): boolean {
  const [a, b] = [bounds(one), bounds(other)]
  return a !== undefined && b !== undefined && a[0] <= b[1] && b[0] <= a[1]
}

function bounds(cidr: string): [number, number] | undefined {
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})(?:\/(\d{1,2}))?$/.exec(cidr)
  if (!match) return undefined
  const address = match.slice(1, 5).reduce((value, part) => value * 256 + Number(part), 0)
  const size = 2 ** (32 - Number(match[5] ?? '32'))
  const first = Math.floor(address / size) * size
  return [first, first + size - 1]
}
