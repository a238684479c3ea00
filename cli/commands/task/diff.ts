import {Flags} from '@oclif/core'
import {ProjectCommand} from '../../project-command.js'
import {taskArgument} from '../../task-arguments.js'
import {changeSummary} from '../../ui/change-lines.js'
import type {BranchChange} from '../../../tasks/git/compare.js'

export default class TaskDiff extends ProjectCommand<typeof TaskDiff> {
  static override summary = 'Show what a task has pushed: commits, files and the patch'
  static override description =
    'Compared with the point where the branch left its base. No external diff, text conversion or attribute of any repository takes part.'
  static override args = {task: taskArgument}
  static override flags = {
    stat: Flags.boolean({description: 'commits and files only'}),
  }

  public async run(): Promise<BranchChange> {
    const project = await this.openProject()
    const [{taskContext}, {comparisonOf}, {findStored}, {compareBranch}, {printPatch}] = await Promise.all([
      import('../../task-context.js'),
      import('../../comparison.js'),
      import('../../../tasks/store.js'),
      import('../../../tasks/git/compare.js'),
      import('../../terminal/patch.js'),
    ])
    const {record} = await findStored(await taskContext(project), this.args.task)
    const {patch, ...change} = await compareBranch(await comparisonOf(project, record))
    if (!this.jsonEnabled()) {
      this.log(changeSummary(change))
      if (!this.flags.stat && patch.length > 0) await printPatch(patch, process.stdout)
    }
    return change
  }
}
