import type {Command} from '@oclif/core'
import {BaseCommand} from './base-command.js'
import {ProjectContext} from './project-context.js'

/** A command about one project. */
export abstract class ProjectCommand<T extends typeof Command> extends BaseCommand<T> {
  private context: ProjectContext | undefined

  /** The project of `-C`, loaded once. */
  protected async openProject(): Promise<ProjectContext> {
    this.context ??= await ProjectContext.open({
      folder: this.flags.project,
      reporter: this.reporter,
      signal: this.interrupted,
    })
    return this.context
  }

  protected override async finally(error: Error | undefined): Promise<void> {
    await this.context?.close()
    await super.finally(error)
  }
}
