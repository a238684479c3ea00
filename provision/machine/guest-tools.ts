import type {Runner} from '../../core/runner.js'
import {findProvider} from './vagrant-provider.js'

/** Versions before these lack what cage's files say. */
export const oldest = {limactl: '2.0.0', vagrant: '2.3.4'} as const

export interface Tool {
  /** as it says itself; absent = not installed */
  version?: string
  ok: boolean
}

/** Looks for a program that drives guests. */
export async function findTool(runner: Runner, program: keyof typeof oldest): Promise<Tool> {
  const asked = await runner.run({argv: [program, '--version'], timeoutMs: 30_000}).catch(() => undefined)
  if (asked === undefined) return {ok: false}
  // limactl says its name also when it refuses to go on.
  const version = /(\d+)\.(\d+)(?:\.(\d+))?/.exec(`${asked.stdout.toString()}\n${asked.stderr}`)
  if (!version) return {ok: false, version: 'unknown'}
  return {version: version[0], ok: atLeast(version[0], oldest[program])}
}

/** The provider that Vagrant works with here; undefined when none does. */
export async function vagrantProvider(
  runner: Runner,
  platform: string,
  home: string,
): Promise<string | undefined> {
  const listed = await runner
    .run({
      argv: ['env', `VAGRANT_HOME=${home}`, 'vagrant', '--no-color', 'plugin', 'list'],
      timeoutMs: 60_000,
    })
    .catch(() => undefined)
  return listed?.code === 0 ? findProvider(runner, platform, listed.stdout.toString()) : undefined
}

function atLeast(version: string, wanted: string): boolean {
  const [have, need] = [version, wanted].map((text) => text.split('.').map(Number))
  for (let i = 0; i < 3; i++) {
    const difference = (have?.[i] ?? 0) - (need?.[i] ?? 0)
    if (difference !== 0) return difference > 0
  }
  return true
}
