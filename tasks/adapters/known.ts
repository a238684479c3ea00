import {CageError, ExitCode} from '../../core/errors.js'
import type {Adapter} from './adapter.js'
import {claude} from './claude.js'
import {shell} from './shell.js'

const adapters: Readonly<Record<string, Adapter>> = {claude, shell}

export const agentNames = Object.keys(adapters)

/** Errors: AGENT_UNKNOWN, exit 2. */
export function adapterOf(name: string): Adapter {
  const adapter = Object.hasOwn(adapters, name) ? adapters[name] : undefined
  if (adapter) return adapter
  throw new CageError(
    `cage cannot start the agent "${name}": this version knows ${agentNames.join(' and ')}`,
    {
      code: 'AGENT_UNKNOWN',
      exitCode: ExitCode.usage,
      hints: [`Use --agent ${agentNames.join(' or --agent ')}, or set \`task.agent\` in cage.yaml.`],
    },
  )
}
