/** A task as people and scripts see it; the shape of `--json`. */
export interface Task {
  /** DNS label; also the name that commands take, beside the branch */
  name: string
  branch: string
  base: string
  phase: TaskPhase
  agent: {name: string; state: AgentState; exitCode: number | null}
  /** name of the pod; it exists unless the phase is Stopped */
  pod: string
  namespace: string
  /** RFC 3339 */
  created: string
  /** why it is not running, one line */
  reason?: string
  /** since the agent started in this pod; absent while there is no running sidecar to ask */
  counts?: TaskCounts
}

/**
 * - `Pending`: recorded, its pod waits for a place on the machine or is about to be made
 * - `Preparing`: fence, sidecar, probe and clone are at work
 * - `Running`: the agent's container runs
 * - `Stopped`: by `cage task stop`; the volume is kept
 * - `Failed`: a container failed, or the pod is gone though nobody stopped it
 */
export type TaskPhase = 'Pending' | 'Preparing' | 'Running' | 'Stopped' | 'Failed'

/** An agent that is `done` or `failed` is not started again. */
export type AgentState = 'starting' | 'working' | 'waiting' | 'done' | 'failed'

export interface TaskCounts {
  /** HTTP exchanges, allowed and denied */
  requests: number
  /** whatever was refused: requests, names, connections */
  denials: number
  /** since the task was made; absent when the sidecar did not say */
  spend?: TaskSpend
}

/** What counts against `task.budget`. */
export interface TaskSpend {
  /** of models: input, cached input and output */
  tokens: number
  /** of models, by the price table of this version; the person's own models cost nothing */
  usd: number
  /** that its pod ran */
  seconds: number
}

export interface AgentReport {
  state: AgentState
  exitCode: number | null
}

/**
 * What `task start` needs to build the pod again; kept as JSON in an annotation of the task's ConfigMap.
 * Holds no secret: placeholders are what the agent sees anyway.
 */
export interface TaskRecord {
  version: 1
  branch: string
  base: string
  agent: string
  /** the branch existed upstream when the task was made */
  existing: boolean
  /** what the person typed after `--` */
  args: string[]
  /** where the task stands between two commands */
  wanted: 'creating' | 'running' | 'stopped' | 'removing'
  /** bytes of the task's volume */
  diskBytes: number
  /** by credential name: the same after `task start`, because programs may have stored it */
  placeholders: Record<string, string>
  /** the agent's state when the task was stopped */
  agentAtStop?: AgentReport
  /** what only the volume had when the task was stopped */
  unsavedAtStop?: UnsavedWork
}

/** Work that is on the task's volume and not upstream. */
export interface UnsavedWork {
  commits: number
  /** changed or untracked */
  files: number
}
