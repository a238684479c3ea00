import {ProjectCommand} from '../../project-command.js'
import {taskArgument} from '../../task-arguments.js'
import {changeSummary} from '../../ui/change-lines.js'
import type {BranchChange} from '../../../tasks/git/compare.js'

export default class TaskFetch extends ProjectCommand<typeof TaskFetch> {
  static override summary = 'Bring what a task has pushed home as cage/<branch>'
  static override description =
    'Received and checked in a quarantine first; nothing else of the repository is written, nothing is checked out.'
  static override args = {task: taskArgument}

  public async run(): Promise<BranchChange> {
    const project = await this.openProject()
    const [{taskContext}, {comparisonOf}, {findStored}, {fetchBranch}] = await Promise.all([
      import('../../task-context.js'),
      import('../../comparison.js'),
      import('../../../tasks/store.js'),
      import('../../../tasks/git/compare.js'),
    ])
    const {record} = await findStored(await taskContext(project), this.args.task)
    const change = await fetchBranch(await comparisonOf(project, record))
    this.log(changeSummary(change))
    this.log(
      `\nHere as cage/${change.branch}. Look: \`git log -p cage/${change.branch}\`; take: \`git merge cage/${change.branch}\`.`,
    )
    return change
  }
}
