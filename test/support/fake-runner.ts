import {PassThrough} from 'node:stream'
import type {Command, CommandResult, Runner, RunningCommand} from '../../core/runner.js'

type Answer = Partial<{code: number; stdout: string; stderr: string}>

/** Programs of this computer as a script: `answer` says what a command prints and how it ends. */
export class FakeRunner implements Runner {
  readonly commands: Command[] = []
  answer: (command: Command) => Answer | Promise<Answer> = () => ({})

  async run(command: Command): Promise<CommandResult> {
    this.commands.push(command)
    const {code = 0, stdout = '', stderr = ''} = await this.answer(command)
    if (stderr !== '') command.onOutput?.(Buffer.from(stderr), 'stderr')
    return {code, stdout: Buffer.from(stdout), stderr}
  }

  start(command: Command): RunningCommand {
    this.commands.push(command)
    const [stdin, stdout, stderr] = [new PassThrough(), new PassThrough(), new PassThrough()]
    stdin.resume()
    const exit = Promise.resolve(this.answer(command)).then((said) => {
      stdout.end(said.stdout ?? '')
      stderr.end(said.stderr ?? '')
      return said.code ?? 0
    })
    return {stdin, stdout, stderr, exit, kill: () => undefined}
  }

  /** the command lines so far, as text */
  get lines(): string[] {
    return this.commands.map(({argv}) => argv.join(' '))
  }
}
