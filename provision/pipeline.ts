import type {Clock} from '../core/clock.js'
import {CageError, ExitCode} from '../core/errors.js'
import type {Reporter} from '../core/report.js'

/** What a step gets while it works. `signal` fires when the person interrupts or the step's deadline passes. */
export interface StepTools {
  signal: AbortSignal
  /** says what is being done right now, on the step's own line */
  detail: (text: string) => void
}

/**
 * One named step from nothing to a ready project.
 * - `check` MUST be quick, change nothing, and answer true when there is nothing to do.
 * - `act` MUST be safe to repeat after it was cut off at any point. What it returns says what changed, for the person.
 * - `verify` MUST judge the effect, not what `act` believes; it is asked until it says true or the deadline passes.
 *   Absent = `check` again.
 */
export interface Step {
  /** one or two words, as shown and as in `--json` */
  name: string
  deadlineMs: number
  /** what the person can do when it fails: imperative sentences */
  hints: readonly string[]
  check(tools: StepTools): Promise<boolean>
  act(tools: StepTools): Promise<string | undefined>
  verify?(tools: StepTools): Promise<boolean>
  /** deadline and hints of what the step is about, where that is known only when it begins */
  adapt?(): Promise<Pick<Step, 'deadlineMs' | 'hints'>>
}

export interface StepResult {
  name: string
  seconds: number
  changed: boolean
}

export interface PipelineTools {
  reporter: Reporter
  clock: Clock
  signal: AbortSignal
}

const VERIFY_EVERY_MS = 250

/**
 * Runs the steps in order; stops at the first that fails. Running it again is the repair.
 * Errors: whatever a step throws; STEP_DEADLINE (exit 5); INTERRUPTED (exit 130).
 */
export async function runSteps(steps: readonly Step[], tools: PipelineTools): Promise<StepResult[]> {
  const results: StepResult[] = []
  for (const step of steps) results.push(await runStep(step, tools))
  return results
}

async function runStep(planned: Step, {reporter, clock, signal}: PipelineTools): Promise<StepResult> {
  const stopped = () => signal.aborted
  if (stopped()) throw interrupted(planned)
  const step = {...planned, ...(await planned.adapt?.())}
  const begun = clock.now()
  const deadline = new AbortController()
  const timer = setTimeout(() => deadline.abort(), step.deadlineMs)
  const both = AbortSignal.any([signal, deadline.signal])
  const tools: StepTools = {signal: both, detail: (text) => reporter.detail(text)}
  reporter.begin(step.name)
  try {
    const changed = !(await step.check(tools))
    const note = changed ? await step.act(tools) : undefined
    if (changed) await verified(step, tools, clock)
    reporter.done(note)
    return {name: step.name, seconds: Math.round((clock.now() - begun) / 100) / 10, changed}
  } catch (cause) {
    reporter.fail()
    if (stopped()) throw interrupted(step, cause)
    if (deadline.signal.aborted) throw deadlinePassed(step, cause)
    throw withHints(step, cause)
  } finally {
    clearTimeout(timer)
  }
}

async function verified(step: Step, tools: StepTools, clock: Clock): Promise<void> {
  const verify = step.verify?.bind(step) ?? step.check.bind(step)
  for (;;) {
    const asked = clock.now()
    if (await verify(tools)) return
    // A machine that is slow to answer is not asked all the time.
    await clock.sleep(Math.max(VERIFY_EVERY_MS, clock.now() - asked), tools.signal)
  }
}

function interrupted(step: Step, cause?: unknown): CageError {
  return new CageError(`interrupted in step "${step.name}"`, {
    code: 'INTERRUPTED',
    exitCode: ExitCode.interrupted,
    hints: ['Run `cage up` again: it goes on where it stopped.'],
    cause,
  })
}

function deadlinePassed(step: Step, cause: unknown): CageError {
  const seconds = Math.round(step.deadlineMs / 1000)
  return new CageError(`step "${step.name}" was not done after ${seconds} s`, {
    code: 'STEP_DEADLINE',
    exitCode: ExitCode.deadline,
    hints: [...step.hints, 'Run `cage up` again: it goes on where it stopped.'],
    cause,
  })
}

function withHints(step: Step, cause: unknown): unknown {
  if (!(cause instanceof CageError) || cause.hints.length > 0) return cause
  return new CageError(cause.message, {code: cause.code, exitCode: cause.exitCode, hints: step.hints, cause})
}
