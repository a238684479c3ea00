import {Command, Flags, type Interfaces} from '@oclif/core'
import {CageError, ExitCode, messageOf} from '../core/errors.js'
import {visible} from '../core/quote.js'
import type {Reporter} from '../core/report.js'
import {silentReporter} from '../core/report.js'
import {lineReporter} from './ui/reporter.js'

export type CommandFlags<T extends typeof Command> = Interfaces.InferredFlags<
  (typeof BaseCommand)['baseFlags'] & T['flags']
>
export type CommandArgs<T extends typeof Command> = Interfaces.InferredArgs<T['args']>

/** What every `cage` command shares: project folder, quietness, one way to render errors, the JSON envelope. */
export abstract class BaseCommand<T extends typeof Command> extends Command {
  static override enableJsonFlag = true
  static override baseFlags = {
    project: Flags.string({
      char: 'C',
      default: '.',
      description: 'folder of the project',
      env: 'CAGE_PROJECT',
      helpGroup: 'GLOBAL',
      helpValue: '<dir>',
    }),
    quiet: Flags.boolean({char: 'q', description: 'no progress on stderr', helpGroup: 'GLOBAL'}),
    verbose: Flags.boolean({description: 'print the commands that are run', helpGroup: 'GLOBAL'}),
    'no-input': Flags.boolean({
      description: 'never ask; fail where an answer is needed',
      helpGroup: 'GLOBAL',
    }),
  }

  declare protected flags: CommandFlags<T>
  declare protected args: CommandArgs<T>
  /** following something: Ctrl-C is how it ends, not a failure to talk about */
  protected endsByInterrupt = false
  private readonly aborter = new AbortController()

  public override async init(): Promise<void> {
    await super.init()
    const {args, flags} = await this.parse({
      args: this.ctor.args,
      baseFlags: (super.ctor as typeof BaseCommand).baseFlags,
      enableJsonFlag: this.ctor.enableJsonFlag,
      flags: this.ctor.flags,
      strict: this.ctor.strict,
    })
    this.flags = flags as CommandFlags<T>
    this.args = args as CommandArgs<T>
  }

  /** Progress on stderr. */
  protected get reporter(): Reporter {
    return this.flags.quiet ? silentReporter : lineReporter(process.stderr)
  }

  /** Fires on the first Ctrl-C or SIGTERM; the second ends the process at once. */
  protected get interrupted(): AbortSignal {
    if (process.listenerCount('SIGINT', this.onSignal) === 0) {
      process.once('SIGINT', this.onSignal)
      process.once('SIGTERM', this.onSignal)
    }
    return this.aborter.signal
  }

  private readonly onSignal = (): void => {
    if (!this.flags.quiet && !this.endsByInterrupt)
      this.logToStderr('\ninterrupted: finishing this step, press Ctrl-C again to stop at once')
    process.once('SIGINT', () => process.exit(ExitCode.interrupted))
    this.aborter.abort(new CageError('interrupted', {code: 'INTERRUPTED', exitCode: ExitCode.interrupted}))
  }

  protected override async catch(error: Error & {exitCode?: number}): Promise<unknown> {
    if (this.endsByInterrupt && this.aborter.signal.aborted) this.exit(ExitCode.interrupted)
    if (error instanceof CageError && !this.jsonEnabled()) {
      for (const line of renderError(error, process.stderr.isTTY)) this.logToStderr(line)
      this.exit(error.exitCode)
    }
    return super.catch(error)
  }

  protected override toErrorJson(error: unknown): unknown {
    const {code, hints} = error instanceof CageError ? error : {code: codeOf(error), hints: []}
    return {error: {code, message: messageOf(error), hints: [...hints]}}
  }
}

function codeOf(error: unknown): string {
  const isUsage = error instanceof Error && 'oclif' in error
  return isUsage ? 'USAGE' : 'UNEXPECTED'
}

/** The error, its causes' messages, then what to do: the most important line last. */
export function renderError(error: CageError, terminal: boolean | undefined): string[] {
  const clean = (text: string) => (terminal ? visible(text, '\n') : text)
  const hints = error.hints.map((hint) => `  → ${clean(hint)}`)
  return [`cage: ${clean(error.message)}`, ...hints]
}
