/** What the person asked an agent to do. */
export interface AgentRequest {
  /** text of `--prompt` or `--prompt-file`; absent = none */
  prompt?: string
  /** what was typed after `--` */
  args: readonly string[]
  /** nobody looks on: the agent ends by itself when it is done */
  unattended: boolean
}

export interface AgentCommands {
  argv: readonly [string, ...string[]]
  /** after a restart of the machine, when the agent was at work; absent = it is not started again */
  resume?: readonly [string, ...string[]]
}

/**
 * How one kind of agent is started. Pure data and functions: nothing here touches a cluster.
 * - `commands` MUST pass a prompt as one argument that no option parser can take for an option.
 * - `credential` names what the agent cannot work without; its placeholder is all that enters the pod.
 */
export interface Adapter {
  name: string
  /** executable files that the image must have on PATH */
  programs: readonly string[]
  /** egress presets that the agent itself needs */
  presets: readonly string[]
  /** default credential: variable in the pod that holds the placeholder, host and header it is bound to */
  credential?: {name: string; variable: string; host: string; header: string; template: string}
  /** further environment of the agent's container */
  env: Readonly<Record<string, string>>
  /** Errors: CageError with exit code 2 for a request that this agent cannot serve. */
  commands(request: AgentRequest): AgentCommands
}
