import {Flags} from '@oclif/core'
import {CageError, ExitCode} from '../../core/errors.js'
import {visible} from '../../core/quote.js'
import type {Widening, WideningItem} from '../../policy/trust.js'
import {ProjectCommand} from '../project-command.js'
import type {ProjectContext} from '../project-context.js'
import {confirm} from '../ui/confirm.js'

export default class Trust extends ProjectCommand<typeof Trust> {
  static override summary = 'Show what cage.yaml asks for beyond the defaults, ask, and remember the answer'
  static override description =
    'What was approved is remembered by what it lets through, not by the text of the file. What only the operator may say cannot be approved here.'
  static override examples = ['<%= config.bin %> trust', '<%= config.bin %> trust --approve <hash>']
  static override flags = {
    approve: Flags.string({
      description: 'approve exactly what has this hash, without a question',
      helpValue: '<hash>',
    }),
  }

  public async run(): Promise<{widens: string[]; hash: string; approved: boolean}> {
    const project = await this.openProject()
    const [{approve, parseApprovals, unapproved, wideningOf}, {readIfThere, writePrivate}] =
      await Promise.all([import('../../policy/trust.js'), import('../../provision/state/files.js')])
    const widening = wideningOf(project.settings)
    const approvals = parseApprovals(await readIfThere(project.files.approvals))
    const open = unapproved(widening, approvals)
    this.show(widening, open)
    const approved = open.length === 0 || (await this.decide(widening))
    if (approved && open.length > 0) {
      const next = approve(widening, approvals, new Date(project.clock.now()).toISOString())
      await writePrivate(project.files.approvals, `${JSON.stringify(next, null, 2)}\n`)
      this.log('Approved.')
    }
    if (!approved && !this.jsonEnabled()) throw notApproved(project, widening)
    return {widens: widening.items.map(({text}) => text), hash: widening.hash, approved}
  }

  private show(widening: Widening, open: readonly WideningItem[]): void {
    if (widening.items.length === 0) this.log('cage.yaml asks for nothing that needs approval.')
    else if (open.length === 0) this.log('Everything that cage.yaml asks for is approved:')
    else this.log('cage.yaml asks for more than the defaults; new is what has a +:')
    for (const item of widening.items) this.log(`  ${open.includes(item) ? '+' : ' '} ${visible(item.text)}`)
    if (open.length > 0) this.log(`hash ${widening.hash}`)
  }

  /** Whether the person says yes; with --json nobody is asked. */
  private async decide({hash}: Widening): Promise<boolean> {
    const {approve} = this.flags
    if (approve === hash) return true
    if (approve !== undefined)
      throw new CageError('this hash is of something else than what cage.yaml asks for now', {
        code: 'HASH_DIFFERS',
        exitCode: ExitCode.denied,
        hints: [`Read what is listed, then run \`cage trust --approve ${hash}\`.`],
      })
    const mayAsk = !this.jsonEnabled() && !this.flags['no-input'] && process.stdin.isTTY
    return mayAsk ? confirm('Let tasks of this project do all this?') : false
  }
}

function notApproved(project: ProjectContext, {hash}: Widening): CageError {
  return new CageError(`not approved: tasks of ${project.settings.project} do not start`, {
    code: 'NOT_TRUSTED',
    exitCode: ExitCode.denied,
    hints: [`Approve it with \`cage trust --approve ${hash}\`, or take it out of cage.yaml.`],
  })
}
