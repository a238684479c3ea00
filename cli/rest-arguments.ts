import type {Command} from '@oclif/core'
import {ProjectCommand} from './project-command.js'

/** A command that takes `-- WORDS…`: the words reach it untouched, whatever they look like. */
export abstract class RestCommand<T extends typeof Command> extends ProjectCommand<T> {
  /** what stands behind the first `--` */
  protected rest: readonly string[] = []

  public override async init(): Promise<void> {
    const at = this.argv.indexOf('--')
    if (at >= 0) {
      this.rest = this.argv.slice(at + 1)
      this.argv = this.argv.slice(0, at)
    }
    await super.init()
  }
}
