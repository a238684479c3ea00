import {routedHosts} from './build.js'
import {gitHost} from '../core/layout.js'
import type {CredentialBinding, EgressGrant, EgressRule, GitGrant, GithubGrant, IssuedValue} from './grant.js'
import {inferenceHost} from './models.js'
import {presetOf} from './presets.js'
import type {CredentialSettings, InjectSettings, ProjectSettings, Rights, RuleSettings} from './settings.js'
import type {AgentNeeds} from './shipped-agents.js'
import {upstreamKind} from './upstream-kind.js'

/** The settings of a project and one task become the two parts of a grant. Pure; nothing here is secret. */

export interface CompileInput {
  settings: Pick<ProjectSettings, keyof Rights | 'network' | 'project'>
  agent: AgentNeeds
  /** `<project>-<8 hex>` */
  id: string
  task: string
  branch: string
  base: string
  revision: number
  /** Service of the dispatcher and the project's CA */
  dispatcher: {address: string; port: number; ca: string}
  /** mode `fork`: address of the fork that pushes go to */
  fork?: string
  /** the machine's resolver, used when the operator named none */
  resolver: readonly string[]
  /** by credential name, random per task */
  placeholders: Readonly<Record<string, string>>
  /** of what the dispatcher holds for the upstream */
  issued?: readonly IssuedValue[]
}

export interface CompiledGrant {
  egress: EgressGrant
  git: GitGrant
  /** environment of the agent: variable → placeholder */
  env: Record<string, string>
}

const PUSH_LIMITS = {
  packBytes: 200 * 2 ** 20,
  objects: 50_000,
  commits: 500,
  refs: 8,
  seconds: 120,
  totalBytes: 2 ** 30,
}
const GITHUB: GithubGrant = {
  writes: ['pr.create', 'pr.update', 'pr.comment', 'pr.review', 'pr.close', 'issue.comment', 'actions.rerun'],
  writesPerHour: 120,
  readsPerHour: 3000,
}

export function compileGrant(input: CompileInput): CompiledGrant {
  const {settings, agent, id, task, revision, dispatcher, placeholders, issued = []} = input
  const {network} = settings
  const bindings = taskCredentials(settings, agent).flatMap((credential) =>
    bindingOf(credential, placeholders[credential.name]),
  )
  const presetNames = usedPresets(settings, agent)
  const egress: EgressGrant = {
    version: 1,
    project: id,
    task,
    revision,
    dispatcher: {...dispatcher, hosts: routedHosts(settings)},
    resolver: [...(network.resolver.length > 0 ? network.resolver : input.resolver)],
    rules: compileRules(settings.egress, presetNames),
    credentials: bindings,
    hosts: network.hosts,
    routes: settings.egress.routes,
    allowAddresses: network.allowAddresses,
    ...(network.upstreamProxy === undefined ? {} : {upstreamProxy: network.upstreamProxy}),
    detectors: {audit: modelHosts(settings, presetNames)},
    budget: settings.task.budget,
    ...(issued.length === 0 ? {} : {issued: [...issued]}),
  }
  const env = Object.fromEntries(
    taskCredentials(settings, agent).flatMap(({name, as, inject}) => {
      const placeholder = placeholders[name]
      if (as === undefined || placeholder === undefined) return []
      return [[as, placeholder], ...(inject?.kind === 'sigv4' ? awsVariables(inject) : [])]
    }),
  )
  return {egress, git: gitGrant(input), env}
}

/** What a task of this agent may use: what is declared, and the agent's own when nothing of that name is. */
export function taskCredentials(
  settings: Pick<Rights, 'credentials'>,
  agent: AgentNeeds,
): CredentialSettings[] {
  const {credential} = agent
  const bound = settings.credentials.filter(({inject}) => inject !== undefined)
  if (!credential || bound.some(({name}) => name === credential.name)) return bound
  const own = settings.credentials.find(({name}) => name === credential.name)
  const {name, variable, host, header, template} = credential
  return [
    ...bound,
    {
      name,
      from: own?.from ?? [{env: variable}, {dotenv: variable}],
      inject: {kind: 'header', host, port: 443, header, template},
      as: variable,
    },
  ]
}

export function usedPresets(settings: Pick<Rights, 'egress'>, agent: Pick<AgentNeeds, 'presets'>): string[] {
  return [...new Set([...agent.presets, ...settings.egress.presets])].sort()
}

/** Rules of presets and of the files; a deny that names no port covers every port that anything opens. */
export function compileRules(egress: Rights['egress'], presetNames: readonly string[]): EgressRule[] {
  const open = [
    ...presetNames.flatMap((name) => presetRules(name)),
    ...egress.allow.map((rule) => compileRule(rule, 'allow')),
    ...egress.audit.map((rule) => compileRule(rule, 'audit')),
  ]
  const ways = new Map(
    [...open, {port: 443, scheme: 'https' as const}, {port: 80, scheme: 'http' as const}].map(
      ({port, scheme}) => [`${scheme}:${port}`, {port, scheme}],
    ),
  )
  const deny = egress.deny.flatMap((rule) =>
    [...ways.values()]
      .filter(({port}) => rule.port === undefined || rule.port === port)
      .filter(({scheme}) => rule.scheme === undefined || rule.scheme === scheme)
      .map((way) => compileRule({...rule, ...way}, 'deny')),
  )
  return [...open, ...deny]
}

function presetRules(name: string): EgressRule[] {
  return (presetOf(name)?.rules ?? []).map(
    ({id, host, port, scheme, methods, paths, urlBytes, hosts, rate}) => ({
      id: `preset:${name}/${id}`,
      effect: 'allow',
      host,
      port: port ?? 443,
      scheme: scheme ?? 'https',
      methods: [...methods],
      ...(paths ? {paths: [...paths]} : {}),
      ...(urlBytes === undefined ? {} : {urlBytes}),
      ...(hosts === undefined ? {} : {hosts}),
      ...(rate ? {rate} : {}),
    }),
  )
}

function compileRule(rule: RuleSettings, effect: EgressRule['effect']): EgressRule {
  const {port = 443, scheme = 'https', ...rest} = rule
  return {...rest, effect, port, scheme}
}

/** What clients of AWS want besides a key id: the sidecar signs, so the secret is any text. */
function awsVariables({region}: {region: string}): [variable: string, value: string][] {
  return [
    ['AWS_SECRET_ACCESS_KEY', 'signed-by-cage'],
    ['AWS_REGION', region],
    // Bodies that are signed in pieces cannot be signed anew.
    ['AWS_REQUEST_CHECKSUM_CALCULATION', 'when_required'],
  ]
}

function bindingOf({name, inject}: CredentialSettings, placeholder: string | undefined): CredentialBinding[] {
  if (!inject || placeholder === undefined) return []
  return [{name, placeholder, host: inject.host, port: inject.port, inject: wireForm(inject)}]
}

function wireForm(inject: InjectSettings): CredentialBinding['inject'] {
  switch (inject.kind) {
    case 'header':
      return {kind: 'header', header: inject.header, template: inject.template}
    case 'basic':
      return {kind: 'basic', user: inject.user}
    case 'json':
      return {kind: 'json', pointer: inject.pointer}
    case 'sigv4':
      return {kind: 'sigv4', region: inject.region, service: inject.service}
  }
}

/** Hosts whose bodies are conversations: a key that an agent once read would end them for good. */
function modelHosts(settings: Pick<Rights, 'egress'>, presetNames: readonly string[]): string[] {
  const known = presetNames.flatMap((name) => presetOf(name)?.modelHosts ?? [])
  const inference = settings.egress.routes.some(({name}) => name === inferenceHost) ? [inferenceHost] : []
  return [...new Set([...known, ...inference])].sort()
}

function gitGrant({settings, id, task, revision, branch, base, fork}: CompileInput): GitGrant {
  const {repository, git} = settings
  const upstream = upstreamOf(repository.upstream, settings.project)
  return {
    version: 1,
    project: id,
    task,
    revision,
    principal: 'task',
    upstream: {...upstream, ...(fork === undefined ? {} : {fork})},
    repository: repositoryPath(upstream.url),
    branch,
    base,
    read: repository.read,
    push: {
      refs: [`refs/heads/${branch}`],
      force: git.force,
      delete: git.delete,
      tags: git.tags.map((tag) => `refs/tags/${tag}`),
      deny: git.deny,
      ...(git.author === 'any'
        ? {}
        : {author: {email: settings.task.author.email, action: git.author === 'own' ? 'deny' : 'warn'}}),
      limits: {...PUSH_LIMITS, blobBytes: git.maxBlobBytes},
    },
    secrets: {onFinding: git.onFinding, ...(git.allow.length === 0 ? {} : {allow: git.allow})},
    ...(upstream.kind === 'github' ? {github: GITHUB} : {}),
  }
}

function upstreamOf(upstream: string, project: string): GitGrant['upstream'] {
  if (upstream === 'hosted') return {kind: 'hosted', url: `https://${gitHost}/${project}.git`}
  return {kind: upstreamKind(upstream), url: upstream}
}

/** `org/app.git`: the path under the host as git clients ask for it. */
function repositoryPath(url: string): string {
  const path = new URL(url).pathname.replace(/^\/+|\/+$/g, '')
  return path.endsWith('.git') ? path : `${path}.git`
}
