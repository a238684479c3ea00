import type {GitGrant} from '../../policy/grant.js'
import {zeroId, type ReceiveRequest} from '../wire/receive-request.js'
import type {Inspection} from './inspect.js'
import type {Problem} from './problem.js'
import type {Repository} from './repositories.js'
import type {Names} from './verdict.js'

const MAX_LISTED = 50

/** What is known about a push so far. */
export interface PushProgress {
  /** absent while the names that the client chose are not yet known to be fit for the journal */
  names?: Names
  pack?: {bytes: number; objects: number}
  inspection?: Inspection
  milliseconds: Record<string, number>
}

/** The part of a journal record that says which push it is and what it contains: names, ids and counts, no values. */
export function pushRecord(
  {request, grant, repository}: {request: string; grant: GitGrant; repository: Repository},
  {commands}: ReceiveRequest,
  {names, pack, inspection}: PushProgress,
): Record<string, unknown> {
  const zero = zeroId(repository.format)
  return {
    request,
    ...taskOf(grant),
    principal: grant.principal,
    repository: repository.name,
    policyRev: grant.revision,
    commands: names
      ? commands.map(({ref, old, new: next}) => ({
          ref: names.record(ref),
          old,
          new: next,
          kind: old === zero ? 'create' : next === zero ? 'delete' : 'update',
        }))
      : [],
    ...(pack ? {packBytes: pack.bytes, packObjects: pack.objects} : {}),
    ...(inspection ? inspectionRecord(inspection) : {}),
  }
}

function inspectionRecord(inspection: Inspection): Record<string, unknown> {
  return {
    objects: inspection.objects,
    commits: inspection.commits.length,
    newCommits: inspection.commits.slice(0, MAX_LISTED),
    blobBytes: inspection.blobBytes,
    unscanned: inspection.unscanned,
    flagged: inspection.flagged.slice(0, MAX_LISTED),
    findings: inspection.found
      .slice(0, MAX_LISTED)
      .map(({rule, kind, type, object, line, length, fingerprint}) => ({
        rule,
        kind,
        type,
        object,
        line,
        length,
        value: fingerprint,
      })),
  }
}

/** Why a push was refused. */
export function refusalRecord(problems: readonly Problem[]): Record<string, unknown> {
  return {
    decision: problems.some((problem) => problem.class === 'internal')
      ? 'error'
      : problems.every((problem) => problem.class === 'held')
        ? 'hold'
        : 'deny',
    ruleId: [...new Set(problems.map(({ruleId}) => ruleId))].slice(0, MAX_LISTED),
    reason: [...new Set(problems.map(({class: name, message}) => `[${name}] ${message}`))].slice(
      0,
      MAX_LISTED,
    ),
  }
}

/** A record names a task only when one acted. */
export function taskOf(grant: GitGrant): {task?: string} {
  return grant.principal === 'task' ? {task: grant.task} : {}
}
