import {ProjectCommand} from '../../project-command.js'

export default class ManifestsRender extends ProjectCommand<typeof ManifestsRender> {
  static override summary = 'Print the objects that `cage up` puts into the cluster of this project'

  public async run(): Promise<{objects: unknown[]}> {
    const project = await this.openProject()
    const [{baseObjects}, {baseView}, {renderForPeople, withoutSecretValues}] = await Promise.all([
      import('../../../manifests/base.js'),
      import('../../up.js'),
      import('../../../manifests/render-for-people.js'),
    ])
    const objects = baseObjects(await baseView(project))
    this.log(renderForPeople(objects).trimEnd())
    return {objects: objects.map(withoutSecretValues)}
  }
}
