import {CageError, ExitCode} from '../../core/errors.js'
import type {Adapter, AgentCommands, AgentRequest} from './adapter.js'

const RESTARTED = 'The machine was restarted. If you were in the middle of the task, go on; otherwise wait.'

/**
 * Claude Code, interactive in tmux and without permission prompts. Settings, state hooks and trust of the folder come
 * with the image (images/agent); only the token's placeholder comes from here.
 */
export const claude: Adapter = {
  name: 'claude',
  programs: ['claude'],
  presets: ['anthropic'],
  credential: {
    name: 'anthropic',
    variable: 'ANTHROPIC_AUTH_TOKEN',
    host: 'api.anthropic.com',
    header: 'authorization',
    template: 'Bearer {}',
  },
  env: {},
  commands({prompt, args, unattended}: AgentRequest): AgentCommands {
    if (unattended && prompt === undefined) {
      throw new CageError('without a prompt Claude waits for a person and never ends', {
        code: 'AGENT_USAGE',
        exitCode: ExitCode.usage,
        hints: ['Add --prompt or --prompt-file, or leave --wait away.'],
      })
    }
    const common = [...(unattended ? ['-p'] : []), '--dangerously-skip-permissions', ...args]
    return {
      // A prompt that begins with a dash is no option behind `--`.
      argv: ['claude', ...common, ...(prompt === undefined ? [] : ['--', prompt])],
      resume: ['claude', ...common, '--continue', '--', RESTARTED],
    }
  },
}
