import {Flags} from '@oclif/core'
import {CageError, ExitCode} from '../../core/errors.js'
import {confirmName} from '../ui/confirm.js'
import {ProjectCommand} from '../project-command.js'

export default class Destroy extends ProjectCommand<typeof Destroy> {
  static override summary =
    'Remove the machine and everything in it, and what cage keeps of the project on this computer'
  static override description =
    'Asks for the name of the project. The repository itself stays as it is. With cluster `existing` it removes the project’s namespaces and policies, nothing else of that cluster.'
  static override flags = {
    confirm: Flags.string({
      description: 'the name of the project, instead of the question',
      helpValue: '<name>',
    }),
  }

  public async run(): Promise<{project: string; removed: string[]; left?: string[]}> {
    const project = await this.openProject()
    const name = project.settings.project
    const {destroyMachine} = await import('../../provision/provisioning.js')
    const {existingCluster} = await import('../existing-cluster.js')
    const {removeFromExisting} = await import('../existing-life.js')
    const {takeLock} = await import('../../provision/state/lock.js')
    const {removeCageRemote} = await import('../../tasks/git/hosted.js')
    await this.confirm(name)
    const lock = await takeLock(project.files.lock, 'cage destroy')
    const {reporter, signal, places, id} = project
    try {
      const existing = await existingCluster(project)
      reporter.begin(existing ? `remove the project from ${existing.context}` : 'remove the machine')
      const inCluster = existing ? await removeFromExisting(project, existing) : {removed: [], left: []}
      const gone = await destroyMachine(places, id, {signal, detail: (text) => reporter.detail(text)})
      const removed = [...inCluster.removed, ...gone]
      const local = {runner: project.runner, directory: project.repository.directory, env: project.env}
      if (await removeCageRemote(local, id)) removed.push('git remote cage')
      reporter.done()
      for (const thing of removed) this.log(`removed ${thing}`)
      for (const thing of inCluster.left) this.log(`left ${thing}`)
      return {project: name, removed, ...(existing ? {left: inCluster.left} : {})}
    } catch (error) {
      reporter.fail()
      throw error
    } finally {
      await lock.release()
    }
  }

  private async confirm(name: string): Promise<void> {
    const {confirm, 'no-input': silent} = this.flags
    const answer =
      confirm ??
      (silent || !process.stdin.isTTY
        ? undefined
        : await confirmName(`This removes the machine of ${name} with all tasks. Type the project's name:`))
    if (answer === name) return
    throw new CageError(
      answer === undefined ? 'not confirmed' : `${JSON.stringify(answer)} is not the name of this project`,
      {
        code: 'NOT_CONFIRMED',
        exitCode: ExitCode.usage,
        hints: [`Run \`cage destroy --confirm ${name}\`.`],
      },
    )
  }
}
