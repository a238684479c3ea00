import {systemClock} from '../../core/clock.js'
import {ProjectCommand} from '../project-command.js'

export interface UpResult {
  project: string
  machine: {driver: string; state: string}
  cluster: {kind: string; version: string; ready: boolean}
  dispatcher: {ready: boolean}
  steps: {name: string; seconds: number; changed: boolean}[]
}

export default class Up extends ProjectCommand<typeof Up> {
  static override summary = 'Make or repair the machine, its cluster and the dispatcher of this project'
  static override description =
    'Every step checks first whether there is anything to do, so running it again after a failure, a crash or a reboot is the repair.'
  static override examples = ['<%= config.bin %> up', '<%= config.bin %> up --json']

  public async run(): Promise<UpResult> {
    const project = await this.openProject()
    const [{requireName}, {upSteps}, {runSteps}, {takeLock}, {statusOf}, {requireUpstreams}] =
      await Promise.all([
        import('../approval.js'),
        import('../up.js'),
        import('../../provision/pipeline.js'),
        import('../../provision/state/lock.js'),
        import('../project-status.js'),
        import('../upstreams.js'),
      ])
    await requireName(project)
    await requireUpstreams(project)
    const lock = await takeLock(project.files.lock, 'cage up')
    try {
      const steps = await runSteps(upSteps(project), {
        reporter: project.reporter,
        clock: systemClock,
        signal: project.signal,
      })
      const {machine, cluster, dispatcher} = await statusOf(project)
      const changed = steps.some((step) => step.changed)
      this.log(`${project.settings.project} is ${changed ? 'ready' : 'well: nothing to do'}.`)
      if (changed) this.log('Start an agent with `cage task new <branch>`.')
      return {project: project.settings.project, machine, cluster, dispatcher, steps}
    } finally {
      await lock.release()
    }
  }
}
