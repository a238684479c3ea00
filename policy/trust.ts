import {createHash} from 'node:crypto'
import {CageError, ExitCode} from '../core/errors.js'
import {visible} from '../core/quote.js'
import {compileRules} from './compile.js'
import {ruleCovers} from './covers.js'
import type {EgressRule} from './grant.js'
import type {
  CredentialSettings,
  CredentialSource,
  InjectSettings,
  ProjectSettings,
  Rights,
} from './settings.js'
import {knownTriples} from './shipped-agents.js'

/** What a cage.yaml asks for beyond what needs nobody, as compiled results in plain sentences. */
export interface Widening {
  items: readonly WideningItem[]
  /** of all items together, in any order; 64 hex digits */
  hash: string
}

export interface WideningItem {
  /** one line for a person, safe for a terminal */
  text: string
  /** of the compiled result */
  hash: string
}

/** What `cage trust` remembers, in the state directory. */
export interface Approvals {
  version: 1
  approved: {hash: string; items: string[]; at: string}[]
}

/** What must be approved before anything is made: with a name a cage.yaml could take the settings of another project. */
export function nameWidening(settings: ProjectSettings): Widening {
  return widening(nameItems(settings))
}

export function wideningOf(settings: ProjectSettings): Widening {
  const {baseline} = settings
  return widening([
    ...nameItems(settings),
    ...repositoryItems(settings, baseline),
    ...taskItems(settings, baseline),
    ...egressItems(settings, baseline),
    ...credentialItems(settings, baseline),
    ...gitItems(settings, baseline),
  ])
}

function widening(found: readonly Item[]): Widening {
  const items = found.map(({text, result}) => ({text: visible(text), hash: hashOf(result)}))
  const sorted = [...new Map(items.map((item) => [item.hash, item])).values()].sort((a, b) =>
    a.hash < b.hash ? -1 : 1,
  )
  return {
    items: items.filter(({hash}, index) => items.findIndex((item) => item.hash === hash) === index),
    hash: hashOf(sorted.map(({hash}) => hash)),
  }
}

export const noApprovals: Approvals = {version: 1, approved: []}

/** Errors: STATE_DAMAGED. */
export function parseApprovals(text: string | undefined): Approvals {
  if (text === undefined) return noApprovals
  try {
    const value = JSON.parse(text) as Partial<Approvals> | null
    const valid =
      value?.version === 1 &&
      Array.isArray(value.approved) &&
      value.approved.every(
        (entry) =>
          typeof entry.hash === 'string' &&
          Array.isArray(entry.items) &&
          entry.items.every((item) => typeof item === 'string'),
      )
    if (valid) return value as Approvals
  } catch {
    // Said below, with what to do.
  }
  throw new CageError('the approvals in the state directory cannot be read', {
    code: 'STATE_DAMAGED',
    hints: ['Remove approvals.json and run `cage trust` again.'],
  })
}

/** What nobody approved yet. An approval holds for each thing by itself: a cage.yaml that asks for less needs none. */
export function unapproved(widening: Widening, approvals: Approvals): readonly WideningItem[] {
  const known = new Set(approvals.approved.flatMap(({items}) => items))
  return widening.items.filter(({hash}) => !known.has(hash))
}

/** @param at ISO 8601 */
export function approve(widening: Widening, approvals: Approvals, at: string): Approvals {
  const entry = {hash: widening.hash, items: widening.items.map(({hash}) => hash), at}
  return {version: 1, approved: [...approvals.approved.filter(({hash}) => hash !== widening.hash), entry]}
}

/** Errors: NOT_TRUSTED, exit 4, before anything exists. */
export function requireApproval(widening: Widening, approvals: Approvals): void {
  const open = unapproved(widening, approvals)
  if (open.length === 0) return
  throw new CageError(
    ['cage.yaml asks for more than was approved:', ...open.map(({text}) => `  ${text}`)].join('\n'),
    {
      code: 'NOT_TRUSTED',
      exitCode: ExitCode.denied,
      hints: [
        'Read it, then run `cage trust`.',
        `Without a terminal: \`cage trust --approve ${widening.hash}\`.`,
      ],
    },
  )
}

interface Item {
  text: string
  /** JSON of it is hashed */
  result: unknown
}

function nameItems({project, claimsEntry}: ProjectSettings): Item[] {
  if (!claimsEntry) return []
  return [{text: `project: takes your own settings for ${project}`, result: ['entry', project]}]
}

function repositoryItems({repository}: Rights, {repository: base}: Rights): Item[] {
  const {upstream, credential, read, mode} = repository
  return [
    ...differs(upstream, base.upstream, `repository: branches go to ${upstream}`, 'upstream'),
    ...differs(
      credential,
      base.credential,
      `repository: the dispatcher uses credential ${credential ?? ''} there`,
      'credential',
      upstream,
    ),
    ...read
      .filter((url) => !base.read.includes(url))
      .map((url) => ({text: `repository: tasks may fetch ${url}`, result: ['read', url]})),
    ...differs(mode, base.mode, `repository: mode ${mode}`, 'mode'),
  ]
}

function taskItems({task}: Rights, {task: base}: Rights): Item[] {
  return [
    ...differs(task.image, base.image, `task: runs in image ${task.image}`, 'image'),
    ...task.files
      .filter((file) => !base.files.includes(file))
      .map((file) => ({text: `task: gets the untracked file ${file}`, result: ['file', file]})),
  ]
}

function egressItems({egress}: Rights, {egress: base}: Rights): Item[] {
  // Presets that are not the operator's need nobody, so what they cover needs nobody either.
  const free = compileRules(base, egress.presets).filter(({effect}) => effect === 'allow')
  const asked = compileRules({...egress, deny: [], presets: []}, [])
  const own = new Set([...base.allow, ...base.audit].map(({id}) => id))
  const rules = asked
    .filter((rule) => !own.has(rule.id) && !free.some((known) => ruleCovers(known, rule)))
    .map((rule) => ({text: `egress: ${ruleText(rule)}`, result: ['egress', ruleResult(rule)]}))
  const routes = egress.routes
    .filter((route) => !base.routes.some((known) => JSON.stringify(known) === JSON.stringify(route)))
    .map((route) => ({
      text: `egress: ${route.name} leads to ${route.url}, address ${route.address}${route.ca === undefined ? '' : `, with a CA of its own (${hashOf(route.ca).slice(0, 16)})`}${route.pin === undefined ? '' : `, with the key ${route.pin}`}`,
      result: [
        'route',
        route.name,
        route.url,
        route.address,
        route.ca ?? null,
        ...(route.pin === undefined ? [] : [route.pin]),
      ],
    }))
  return [...rules, ...routes]
}

function ruleText(rule: EgressRule): string {
  const standard = rule.port === (rule.scheme === 'http' ? 80 : 443)
  const origin = `${rule.scheme}://${rule.host}${standard ? '' : `:${rule.port}`}`
  const what = (rule.methods ?? ['any method']).join(', ')
  const where = rule.paths ? rule.paths.map((path) => origin + path).join(', ') : `${origin}, any path`
  const more = [
    ...(rule.websocket ? ['WebSocket'] : []),
    ...(rule.mcp ? [`MCP tools ${(rule.mcp.tools ?? ['all']).join(', ')}`] : []),
    ...(rule.effect === 'audit' ? ['recorded as "would be denied"'] : []),
    ...(rule.host.includes('xn--')
      ? ['CAUTION: an internationalised name that can look like another one']
      : []),
  ]
  return [`${what} to ${where}`, ...more].join('; ')
}

function ruleResult({effect, host, port, scheme, methods, paths, websocket, mcp, rate}: EgressRule): unknown {
  const sorted = (list: readonly string[] | undefined) => (list ? [...list].sort() : null)
  return {
    effect,
    host,
    port,
    scheme,
    methods: sorted(methods),
    paths: sorted(paths),
    websocket: websocket ?? false,
    mcp: mcp ? {tools: sorted(mcp.tools), methods: sorted(mcp.methods)} : null,
    rate: [rate?.rps ?? null, rate?.concurrency ?? null, rate?.bytesUp ?? null],
  }
}

function credentialItems({credentials}: Rights, base: Rights): Item[] {
  return credentials
    .filter(
      (credential) => !base.credentials.some((known) => JSON.stringify(known) === JSON.stringify(credential)),
    )
    .filter((credential) => !isPreApproved(credential))
    .map((credential) => {
      const {name, from, inject, as} = credential
      const source = from.map(sourceText).join(' or ') || 'no source yet'
      const target = inject ? `is sent to ${injectText(inject)}` : 'is used by the dispatcher alone'
      const place = as === undefined ? '' : `; the agent sees a placeholder in ${as}`
      return {
        text: `credential ${name}: ${source} ${target}${place}`,
        result: ['credential', name, from, inject ?? null, as ?? null],
      }
    })
}

function isPreApproved({from, inject}: CredentialSettings): boolean {
  if (inject?.kind !== 'header' || inject.port !== 443 || from.length === 0) return false
  const {host, header, template} = inject
  return from.every((source) =>
    knownTriples.some(
      (known) =>
        known.host === host &&
        known.header === header &&
        known.template === template &&
        (('env' in source && source.env === known.variable) ||
          ('dotenv' in source && source.dotenv === known.variable)),
    ),
  )
}

/** Where a value is looked for, in words. */
export function sourceText(source: CredentialSource): string {
  if ('env' in source) return `environment variable ${source.env}`
  if ('dotenv' in source) return `${source.dotenv} in .env`
  if ('file' in source) return `file ${source.file}`
  if ('command' in source) return `command \`${source.command.join(' ')}\``
  return `keychain entry ${source.keychain}`
}

function injectText(inject: InjectSettings): string {
  const origin = `https://${inject.host}${inject.port === 443 ? '' : `:${inject.port}`}`
  switch (inject.kind) {
    case 'header':
      return `${origin} in header ${inject.header} as "${inject.template}"`
    case 'basic':
      return `${origin} as password of ${inject.user === '' ? 'no user' : inject.user}`
    case 'json':
      return `${origin} in the body at ${inject.pointer}`
    case 'sigv4':
      return `${origin} as AWS signature for ${inject.service} in ${inject.region}`
  }
}

function gitItems({git}: Rights, {git: base}: Rights): Item[] {
  const strength = ['deny', 'hold', 'warn']
  const authors = ['any', 'warn', 'own']
  const weaker = strength.indexOf(git.onFinding) > strength.indexOf(base.onFinding)
  return [
    ...(git.force && !base.force ? [{text: 'git: a task may rewrite its branch', result: ['force']}] : []),
    ...(git.delete && !base.delete ? [{text: 'git: a task may delete its branch', result: ['delete']}] : []),
    ...git.tags
      .filter((tag) => !base.tags.includes(tag))
      .map((tag) => ({text: `git: a task may push the tag ${tag}`, result: ['tag', tag]})),
    ...base.deny
      .filter((entry) => !git.deny.includes(entry))
      .map((entry) => ({text: `git: a task may change what "${entry}" protects`, result: ['paths', entry]})),
    ...(git.maxBlobBytes > base.maxBlobBytes
      ? [
          {
            text: `git: a task may push files of ${git.maxBlobBytes} bytes`,
            result: ['maxBlob', git.maxBlobBytes],
          },
        ]
      : []),
    ...git.allow
      .filter((hash) => !base.allow.includes(hash))
      .map((hash) => ({text: `git: the value with SHA-256 ${hash} is no secret`, result: ['allow', hash]})),
    ...(authors.indexOf(git.author) < authors.indexOf(base.author)
      ? [{text: `git: commits by others in a push: ${git.author}`, result: ['author', git.author]}]
      : []),
    ...(weaker
      ? [{text: `git: a secret in a push: ${git.onFinding}`, result: ['onFinding', git.onFinding]}]
      : []),
  ]
}

function differs(
  value: string | undefined,
  base: string | undefined,
  text: string,
  ...kind: string[]
): Item[] {
  return value === undefined || value === base ? [] : [{text, result: [...kind, value]}]
}

function hashOf(value: unknown): string {
  return createHash('sha256').update(JSON.stringify(value)).digest('hex')
}
