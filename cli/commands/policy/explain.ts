import {Args, Flags} from '@oclif/core'
import {visible} from '../../../core/quote.js'
import type {Explanation} from '../../../policy/explain.js'
import {ProjectCommand} from '../../project-command.js'
import type {ProjectContext} from '../../project-context.js'

export default class PolicyExplain extends ProjectCommand<typeof PolicyExplain> {
  static override summary = 'Show what the policy decides about one request, and the rule that makes it so'
  static override description =
    'Asks the same function that decides in the sidecar, for the agent of cage.yaml or of --task. No request is made and no name is looked up.'
  static override usage = 'policy explain [--task <task>] [METHOD] URL'
  static override examples = [
    '<%= config.bin %> policy explain https://example.com/',
    '<%= config.bin %> policy explain POST https://api.example.com/v1/items',
  ]
  static override args = {
    first: Args.string({
      description: 'method, e.g. POST; may be left out: GET',
      name: 'METHOD',
      required: true,
    }),
    second: Args.string({description: 'address', name: 'URL', required: false}),
  }
  static override flags = {
    task: Flags.string({description: 'for the agent of this task (name or branch)', helpValue: '<task>'}),
  }

  public async run(): Promise<Explanation> {
    const {first, second} = this.args
    const [method, url] = second === undefined ? ['GET', first] : [first, second]
    const project = await this.openProject()
    const [{adapterOf}, {explain}] = await Promise.all([
      import('../../../tasks/adapters/known.js'),
      import('../../../policy/explain.js'),
    ])
    const agent = adapterOf(await this.agentName(project))
    const explanation = explain(project.settings, agent, method, url)
    const {decision, rule, reason} = explanation
    this.log(visible(`${decision}  ${method.toUpperCase()} ${url}`))
    this.log(visible(`  ${reason}${rule === null ? '' : ` (${rule})`}`))
    return explanation
  }

  private async agentName(project: ProjectContext): Promise<string> {
    const {task} = this.flags
    if (task === undefined) return project.settings.task.agent
    const [{taskContext}, {findStored}] = await Promise.all([
      import('../../task-context.js'),
      import('../../../tasks/store.js'),
    ])
    return (await findStored(await taskContext(project), task)).record.agent
  }
}
