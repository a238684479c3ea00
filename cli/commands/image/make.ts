import {systemClock} from '../../../core/clock.js'
import {ProjectCommand} from '../../project-command.js'

export interface MadeImage {
  /** `base-<16 hex>` of what went into it */
  name: string
  /** false when it was there already */
  made: boolean
  seconds: number
}

export default class ImageMake extends ProjectCommand<typeof ImageMake> {
  static override summary = 'Prepare a base image, from which the next virtual machines are made'
  static override description =
    'Makes a virtual machine as this project asks for it, with everything but a cluster and a project in it, keeps its disk and removes it. `cage up` makes new machines from it: they start in the time of a boot. Made again when something that went into it has changed; `cage image prune` removes the old one.'
  static override examples = ['<%= config.bin %> image make', '<%= config.bin %> image make --json']

  public async run(): Promise<MadeImage> {
    const project = await this.openProject()
    const [{machineWanted}, {baseImageStep}, {runSteps}] = await Promise.all([
      import('../../machine-wanted.js'),
      import('../../../provision/base-images.js'),
      import('../../../provision/pipeline.js'),
    ])
    const {wanted} = await machineWanted(project)
    const {name, step} = await baseImageStep(project.places, wanted)
    const tools = {reporter: project.reporter, clock: systemClock, signal: project.signal}
    const [result] = await runSteps([step], tools)
    const made = result?.changed ?? false
    this.log(made ? `${name} is kept: the next \`cage up\` starts from it.` : `${name} is there already.`)
    return {name, made, seconds: result?.seconds ?? 0}
  }
}
