/** What a record tells of: `event` is what cage itself did, `denial` any record of something that was refused or held. */
export const auditKinds = ['push', 'fetch', 'api', 'request', 'event', 'denial'] as const
export type AuditKind = (typeof auditKinds)[number]

const ofDispatcher: Readonly<Record<string, AuditKind>> = {
  push: 'push',
  'push.approve': 'push',
  'push.reject': 'push',
  fetch: 'fetch',
  rest: 'api',
  graphql: 'api',
  api: 'api',
  lfs: 'fetch',
}

export function kindsOf(source: 'sidecar' | 'dispatcher', record: Record<string, unknown>): AuditKind[] {
  const {op, kind, decision} = record
  const what =
    source === 'sidecar'
      ? kind === 'sidecar' || kind === 'grant'
        ? 'event'
        : 'request'
      : ((typeof op === 'string' ? ofDispatcher[op] : undefined) ?? 'event')
  return decision === 'deny' || decision === 'hold' ? [what, 'denial'] : [what]
}
