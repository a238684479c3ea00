import {join} from 'node:path'
import {runOk} from '../core/process.js'
import type {Runner} from '../core/runner.js'
import {contentHash} from './build-cache.js'
import {output} from './transport/output.js'
import type {Transport} from './transport/transport.js'

/** Where cage's scripts lie on a machine. */
const place = '/usr/local/lib/cage'

export interface GuestScripts {
  runner: Runner
  /** where cage is installed */
  packageRoot: string
  transport: Transport
  signal: AbortSignal
}

/** True when the scripts on the machine are those of this cage. */
export async function scriptsAreThere({packageRoot, transport, signal}: GuestScripts): Promise<boolean> {
  const argv = ['cat', `${place}/.content`] as const
  const {code, stdout} = await transport.run({argv, signal, timeoutMs: 20_000})
  return code === 0 && stdout.toString() === (await contentHash([scriptsOf(packageRoot)], []))
}

/** Brings them there; what marks them comes last. */
export async function bringScripts({runner, packageRoot, transport, signal}: GuestScripts): Promise<void> {
  const guest = scriptsOf(packageRoot)
  const archive = await runOk(runner, {argv: ['tar', '-C', guest, '-c', '.'], signal})
  const unpack = 'install -d "$1" && tar -C "$1" -x --no-same-owner'
  await output(transport, {argv: ['sh', '-c', unpack, 'sh', place], input: archive, signal})
  await transport.writeFile(`${place}/.content`, await contentHash([guest], []), '0644')
}

function scriptsOf(packageRoot: string): string {
  return join(packageRoot, 'provision/guest')
}
