import {Args, Flags} from '@oclif/core'
import {readFile} from 'node:fs/promises'
import {text} from 'node:stream/consumers'
import {CageError, ExitCode, messageOf} from '../../../core/errors.js'
import {parseDuration} from '../../durations.js'
import {RestCommand} from '../../rest-arguments.js'
import type {Task} from '../../../tasks/task.js'

const MAX_PROMPT_BYTES = 512 * 1024

export default class TaskNew extends RestCommand<typeof TaskNew> {
  static override summary = 'Start one agent in one pod on one new branch'
  static override description =
    'Everything is checked before anything exists. Words behind `--` go to the agent; for the agent shell they are the command.'
  static override usage = 'task new BRANCH [FLAGS] [-- ARGUMENTS…]'
  static override examples = [
    '<%= config.bin %> task new fix/login --prompt-file task.md --attach',
    '<%= config.bin %> task new try/lint --agent shell --wait -- npm run lint',
  ]
  static override args = {
    branch: Args.string({description: 'the branch the agent works on', required: true}),
  }
  static override flags = {
    agent: Flags.string({
      description: 'claude or shell; default: `task.agent` of cage.yaml',
      helpValue: '<name>',
    }),
    prompt: Flags.string({
      description: 'what the agent shall do',
      helpValue: '<text>',
      exclusive: ['prompt-file'],
    }),
    'prompt-file': Flags.string({
      description: 'a file with what the agent shall do; - reads standard input',
      helpValue: '<file>',
    }),
    base: Flags.string({
      description: "the branch to start from; default: the project's base",
      helpValue: '<branch>',
    }),
    existing: Flags.boolean({description: 'go on with a branch that is upstream already'}),
    attach: Flags.boolean({description: "show the agent's terminal once it runs"}),
    wait: Flags.boolean({
      description: 'wait until the agent has ended; exit code 1 when it failed',
      exclusive: ['attach'],
    }),
    timeout: Flags.string({
      description: 'how long the start may take',
      helpValue: '<duration>',
      default: '10m',
    }),
  }

  public async run(): Promise<{task: Task}> {
    const {branch} = this.args
    const {base, existing, attach, wait} = this.flags
    const deadlineMs = parseDuration('--timeout', this.flags.timeout)
    const terminal = {input: process.stdin, output: process.stdout}
    if (attach) (await import('../../terminal/attach.js')).requireTerminal(terminal)
    const prompt = await this.prompt()
    const project = await this.openProject()
    const [{taskContext, dispatcherControl}, {taskProject}, {newTask}, {showBeginning, showTask}, waits] =
      await Promise.all([
        import('../../task-context.js'),
        import('../../task-project.js'),
        import('../../../tasks/new.js'),
        import('../../../tasks/list.js'),
        import('../../../tasks/wait.js'),
      ])
    const agent = this.flags.agent ?? project.settings.task.agent
    const [context, dispatcher] = await Promise.all([taskContext(project), dispatcherControl(project)])
    const name = await newTask(context, taskProject(project), dispatcher, {
      branch,
      agent,
      existing,
      args: this.rest,
      unattended: wait,
      ...startsFrom(base ?? project.settings.repository.base),
      ...(prompt === undefined ? {} : {prompt}),
    })
    context.reporter.begin(`start the agent ${agent}`)
    await waits.waitUntilRunning(context, name, deadlineMs)
    context.reporter.done()
    if (wait) await this.waitForAgent(context, name, waits.waitUntilAgentEnds)
    const task = await (wait ? showTask : showBeginning)(context, name)
    if (attach) await this.attach(context, name, terminal)
    else if (wait)
      this.log(
        `The agent of task ${name} has ended: ${task.agent.state}. Its work: \`cage task diff ${name}\`.`,
      )
    else this.log(`Task ${name} works on ${branch}. Look at it with \`cage attach ${name}\`.`)
    if (wait && task.agent.state !== 'done') process.exitCode = ExitCode.failed
    return {task}
  }

  private async waitForAgent(
    context: Parameters<typeof import('../../../tasks/wait.js').waitUntilAgentEnds>[0],
    name: string,
    wait: typeof import('../../../tasks/wait.js').waitUntilAgentEnds,
  ): Promise<void> {
    context.reporter.begin(`wait for the agent of ${name}`)
    const {state, exitCode} = await wait(context, name)
    const code = exitCode === null ? '' : `, exit code ${exitCode}`
    if (state === 'done') context.reporter.done()
    else context.reporter.fail(`${state}${code}`)
  }

  private async attach(
    context: Parameters<typeof import('../../terminal/attach.js').attachToTask>[0],
    name: string,
    terminal: Parameters<typeof import('../../terminal/attach.js').attachToTask>[2],
  ): Promise<void> {
    const [{attachToTask}, {findStored}] = await Promise.all([
      import('../../terminal/attach.js'),
      import('../../../tasks/store.js'),
    ])
    this.logToStderr(await attachToTask(context, await findStored(context, name), terminal))
  }

  private async prompt(): Promise<string | undefined> {
    const {prompt, 'prompt-file': file} = this.flags
    const given = file === undefined ? prompt : await readPrompt(file)
    if (given === undefined) return undefined
    if (given.trim() === '') throw promptError('the prompt is empty')
    if (given.includes('\0')) throw promptError('the prompt contains a NUL character')
    if (Buffer.byteLength(given) > MAX_PROMPT_BYTES)
      throw promptError(`the prompt has more than ${MAX_PROMPT_BYTES / 1024} KiB`)
    return given
  }
}

/** Neither said: the upstream's default branch. */
function startsFrom(base: string | undefined): {base?: string} {
  return base === undefined ? {} : {base}
}

async function readPrompt(file: string): Promise<string> {
  try {
    return file === '-' ? await text(process.stdin) : await readFile(file, 'utf8')
  } catch (cause) {
    throw promptError(`cannot read the prompt from ${file}: ${messageOf(cause)}`, cause)
  }
}

function promptError(message: string, cause?: unknown): CageError {
  return new CageError(message, {
    code: 'PROMPT',
    exitCode: ExitCode.usage,
    hints: ['Give it with --prompt TEXT, --prompt-file FILE, or --prompt-file - on standard input.'],
    cause,
  })
}
