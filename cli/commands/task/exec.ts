import {RestCommand} from '../../rest-arguments.js'
import {CageError, ExitCode} from '../../../core/errors.js'
import {taskArgument} from '../../task-arguments.js'
import {asTransportError} from '../../transport-errors.js'

export default class TaskExec extends RestCommand<typeof TaskExec> {
  static override summary = "Run a command as the agent's user in its container"
  static override description =
    'Starts in the root of the clone. Input, output and exit code pass through; the command gets a terminal only when there is one. A failure of cage itself is exit code 255.'
  static override usage = 'task exec [TASK] -- COMMAND [ARGUMENTS…]'
  static override examples = ['<%= config.bin %> task exec fix/login -- git status']
  static override args = {task: taskArgument}
  static override enableJsonFlag = false

  public async run(): Promise<void> {
    const [program, ...args] = this.rest
    if (program === undefined) {
      throw new CageError('there is no command', {
        code: 'USAGE',
        exitCode: ExitCode.usage,
        hints: ['Put it behind `--`, e.g. `cage task exec fix/login -- git status`.'],
      })
    }
    const project = await this.openProject()
    const [{taskContext}, {findStored}, {runInTask}] = await Promise.all([
      import('../../task-context.js'),
      import('../../../tasks/store.js'),
      import('../../terminal/run-in-task.js'),
    ])
    const context = await taskContext(project)
    const stored = await findStored(context, this.args.task)
    const code = await runInTask(context, stored, [program, ...args], {
      input: process.stdin,
      output: process.stdout,
      errors: process.stderr,
    })
    if (code !== 0) this.exit(code)
  }

  protected override catch(error: Error): Promise<unknown> {
    return super.catch(asTransportError(error))
  }
}
