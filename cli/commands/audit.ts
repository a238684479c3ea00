import {Flags} from '@oclif/core'
import {CageError} from '../../core/errors.js'
import {parseSince} from '../durations.js'
import {ProjectCommand} from '../project-command.js'
import {auditJson, auditLine} from '../ui/audit-lines.js'
import {auditKinds} from '../../tasks/audit/kinds.js'
import type {AuditQuery, AuditRecord, ChainHeads} from '../../tasks/audit/read.js'
import type {ProjectContext} from '../project-context.js'

export default class Audit extends ProjectCommand<typeof Audit> {
  static override summary = 'Show what tasks did and what was denied, one record a line'
  static override description =
    'Records of sidecars and dispatcher, also of tasks that are removed. Every chain is checked from its first record; exit code 1 when one was changed. With --json each line is one JSON object.'
  static override flags = {
    task: Flags.string({
      description: 'only this task (name or branch); also one that is removed',
      helpValue: '<task>',
    }),
    since: Flags.string({description: 'only what is newer: 90s, 15m, 1h, 7d or a date', helpValue: '<time>'}),
    kind: Flags.option({
      description: 'only records of this kind; may be said more than once',
      options: auditKinds,
      multiple: true,
    })(),
    follow: Flags.boolean({char: 'f', description: 'go on with new records'}),
  }

  public async run(): Promise<void> {
    const since =
      this.flags.since === undefined ? undefined : parseSince('--since', this.flags.since, Date.now())
    this.endsByInterrupt = this.flags.follow
    const project = await this.openProject()
    const [{taskContext, dispatcherControl}, {listStored}, {readAudit}, {readIfThere, writePrivate}] =
      await Promise.all([
        import('../task-context.js'),
        import('../../tasks/store.js'),
        import('../../tasks/audit/read.js'),
        import('../../provision/state/files.js'),
      ])
    const [context, dispatcher] = await Promise.all([taskContext(project), dispatcherControl(project)])
    const asked = this.flags.task
    const byBranch =
      asked === undefined
        ? undefined
        : (await listStored(context)).find(({record}) => record.branch === asked)
    const task = byBranch?.name ?? asked
    const kinds = this.flags.kind
    const query = {
      ...(task === undefined ? {} : {task}),
      ...(since === undefined ? {} : {since}),
      ...(kinds === undefined ? {} : {kinds}),
    }
    const heads = parseHeads(await readIfThere(project.files.auditHeads))
    const kept = {directory: project.files.audit, heads}
    const reading = await readAudit(context, dispatcher, kept, query)
    await writePrivate(project.files.auditHeads, `${JSON.stringify({...heads, ...reading.heads}, null, 2)}\n`)
    for (const record of reading.records) this.print(record)
    for (const problem of reading.problems) this.logToStderr(`cage: ${problem}`)
    if (this.flags.follow) await this.follow(project, {...kept, heads: reading.heads}, query)
    if (reading.problems.length > 0) {
      throw new CageError('the audit is not whole', {
        code: 'AUDIT_CHAIN',
        hints: [
          'Somebody changed or removed records, or the volume was lost: the lines above name the place.',
        ],
      })
    }
  }

  private async follow(
    project: ProjectContext,
    kept: {directory: string; heads: ChainHeads},
    query: AuditQuery,
  ): Promise<void> {
    const [{taskContext, dispatcherControl}, {followAudit}] = await Promise.all([
      import('../task-context.js'),
      import('../../tasks/audit/follow.js'),
    ])
    const [context, dispatcher] = await Promise.all([taskContext(project), dispatcherControl(project)])
    await followAudit(context, dispatcher, kept, query, (record) => this.print(record))
  }

  private print(record: AuditRecord): void {
    process.stdout.write(`${this.jsonEnabled() ? auditJson(record) : auditLine(record)}\n`)
  }

  /** Its result is lines, written as they come. */
  protected override logJson(json: unknown): void {
    if (json !== undefined) super.logJson(json)
  }
}

function parseHeads(text: string | undefined): ChainHeads {
  try {
    return JSON.parse(text ?? '{}') as ChainHeads
  } catch {
    return {}
  }
}
