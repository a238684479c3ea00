import {ProjectCommand} from '../project-command.js'

export default class Down extends ProjectCommand<typeof Down> {
  static override summary = 'Stop the machine; volumes and tasks stay and come back with `cage up`'
  static override description =
    'With cluster `existing` there is no machine: the tasks and the dispatcher stop, their volumes stay. `cage up` starts the dispatcher again, `cage task start` each task.'

  public async run(): Promise<{project: string; stopped: boolean; tasks?: string[]}> {
    const project = await this.openProject()
    const [{stopMachine}, {takeLock}] = await Promise.all([
      import('../../provision/provisioning.js'),
      import('../../provision/state/lock.js'),
    ])
    const lock = await takeLock(project.files.lock, 'cage down')
    const {reporter, signal, places, id, settings} = project
    try {
      const {existingCluster} = await import('../existing-cluster.js')
      if (await existingCluster(project)) {
        const {stopInCluster} = await import('../existing-life.js')
        const {stopped, tasks} = await stopInCluster(project, (task, why) =>
          // Nothing is lost: the ledger stays on the task's volume.
          reporter.info(`The audit of task ${task} was not copied: ${why}`),
        )
        this.log('The cluster was there before and goes on; nothing of this project runs in it.')
        if (tasks.length > 0)
          this.log(`Stopped: ${tasks.join(', ')}. After \`cage up\` go on with \`cage task start <task>\`.`)
        return {project: settings.project, stopped, tasks}
      }
      reporter.begin('stop the machine')
      const stopped = await stopMachine(places, id, {signal, detail: (text) => reporter.detail(text)})
      reporter.done(stopped ? undefined : 'it was not running')
      return {project: settings.project, stopped}
    } catch (error) {
      reporter.fail()
      throw error
    } finally {
      await lock.release()
    }
  }
}
