import {ProjectCommand} from '../project-command.js'

export default class Down extends ProjectCommand<typeof Down> {
  static override summary = 'Stop the machine; volumes and tasks stay and come back with `cage up`'

  public async run(): Promise<{project: string; stopped: boolean}> {
    const project = await this.openProject()
    const [{stopMachine}, {takeLock}] = await Promise.all([
      import('../../provision/provisioning.js'),
      import('../../provision/state/lock.js'),
    ])
    const lock = await takeLock(project.files.lock, 'cage down')
    const {reporter, signal, places, id, settings} = project
    try {
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
