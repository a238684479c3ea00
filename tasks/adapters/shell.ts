import {CageError, ExitCode} from '../../core/errors.js'
import type {Adapter, AgentCommands, AgentRequest} from './adapter.js'

/** A program or a script in the place of an agent; without either a login shell for the person. */
export const shell: Adapter = {
  name: 'shell',
  programs: ['bash'],
  presets: [],
  env: {},
  commands({prompt, args, unattended}: AgentRequest): AgentCommands {
    const [program, ...rest] = args
    if (prompt !== undefined && program !== undefined) {
      throw new CageError('the agent shell runs a script (--prompt) or a command (after --), not both', {
        code: 'AGENT_USAGE',
        exitCode: ExitCode.usage,
        hints: ['Leave one of them away.'],
      })
    }
    if (program !== undefined) return {argv: [program, ...rest]}
    if (prompt !== undefined) return {argv: ['bash', '-lc', prompt]}
    if (unattended) {
      throw new CageError('a shell without a command waits for a person and never ends', {
        code: 'AGENT_USAGE',
        exitCode: ExitCode.usage,
        hints: ['Give a command after `--`, a script with --prompt, or leave --wait away.'],
      })
    }
    return {argv: ['bash', '-l'], resume: ['bash', '-l']}
  },
}
