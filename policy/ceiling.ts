import {classify} from './addresses.js'
import {canonicalRuleHost, ownProject, routeAddress} from './build.js'
import {CageError, ExitCode} from '../core/errors.js'
import type {CredentialFile, OperatorFile, OperatorProject, ProjectFile} from './file-types.js'
import {presetOf} from './presets.js'
import {lineOf, type ConfigPath, type PlacedProblem, type Problem} from './problems.js'

/** Something cage.yaml asks for that only the operator can grant, with the line that grants it. */
export interface Excess {
  path: ConfigPath
  message: string
  /** to add to the operator's file */
  line: string
}

/** What a valid cage.yaml says beyond what its operator lets any cage.yaml say; `cage trust` cannot lift it. */
export function excessOf(name: string, project: ProjectFile, operator: OperatorFile): Excess[] {
  const own = ownProject(operator, name) ?? {}
  return [
    ...operatorFields(name, project, operator, own),
    ...egressExcess(name, project, operator, own),
    ...(project.credentials ?? []).flatMap((credential, index) =>
      credentialExcess(name, credential, ['credentials', index], operator, own),
    ),
  ]
}

/** Exit 4 with every excess and every line to add. */
export function ceilingError(
  excess: readonly Excess[],
  place: (problem: Problem) => PlacedProblem,
  operatorFile: string,
): CageError {
  const lines = excess.map(({path, message}) => lineOf(place({path, message})))
  return new CageError([...new Set(lines)].join('\n'), {
    code: 'ABOVE_CEILING',
    exitCode: ExitCode.denied,
    hints: [
      ...new Set(excess.map(({line}) => `To permit it, add to ${operatorFile}: ${line}`)),
      'Or take it out of cage.yaml.',
    ],
  })
}

function operatorFields(
  name: string,
  project: ProjectFile,
  operator: OperatorFile,
  own: OperatorProject,
): Excess[] {
  const found: Excess[] = []
  const only = (path: [string, string], value: unknown, granted: unknown) => {
    if (value === undefined || equal(value, granted)) return
    const [section, field] = path
    found.push({
      path,
      message: 'only the operator may set this',
      line: `projects: {${name}: {${section}: {${field}: ${flow(value)}}}}`,
    })
  }
  const {machine = {}, cluster = {}} = project
  const defaults = operator.defaults ?? {}
  const driver = own.machine?.driver ?? defaults.machine?.driver
  if (machine.driver === 'local' || machine.driver === 'ssh')
    only(['machine', 'driver'], machine.driver, driver)
  only(['machine', 'ssh'], machine.ssh, own.machine?.ssh ?? defaults.machine?.ssh)
  only(['machine', 'image'], machine.image, own.machine?.image ?? defaults.machine?.image)
  for (const field of ['kind', 'kubeconfig', 'context', 'registry', 'registryAuth', 'storageClass'] as const)
    if (cluster[field] !== 'auto')
      only(['cluster', field], cluster[field], own.cluster?.[field] ?? defaults.cluster?.[field])
  return found
}

function egressExcess(
  name: string,
  project: ProjectFile,
  operator: OperatorFile,
  own: OperatorProject,
): Excess[] {
  const {egress = {}} = project
  const ceiling = operator.ceiling?.egress ?? {}
  const found: Excess[] = []
  const granted = new Set([...(own.egress?.presets ?? []), ...(operator.defaults?.egress?.presets ?? [])])
  egress.presets?.forEach((preset, index) => {
    const permitted = ceiling.presets ? ceiling.presets.includes(preset) : !presetOf(preset)?.operatorOnly
    if (permitted || granted.has(preset)) return
    found.push({
      path: ['egress', 'presets', index],
      message: `the preset ${preset} is not permitted to a cage.yaml`,
      line: presetOf(preset)?.operatorOnly
        ? `projects: {${name}: {egress: {presets: [${preset}]}}}`
        : `ceiling: {egress: {presets: [${[...(ceiling.presets ?? []), preset].join(', ')}]}}`,
    })
  })
  for (const kind of ['allow', 'audit'] as const)
    egress[kind]?.forEach((rule, index) => {
      if (!ceiling.hosts || covered(canonicalRuleHost(rule.host), ceiling.hosts)) return
      found.push({
        path: ['egress', kind, index, 'host'],
        message: `${rule.host} is not permitted to a cage.yaml`,
        line: `ceiling: {egress: {hosts: [${[...ceiling.hosts, rule.host].map(flow).join(', ')}]}}`,
      })
    })
  for (const [route, {url}] of Object.entries(egress.routes ?? {})) {
    const permitted = ceiling.routes?.some((allowed) => sameUrl(allowed, url)) ?? false
    const address = routeAddress(operator, url)
    const isPublic = address !== undefined && classify(address) === 'public'
    if (permitted || (isPublic && !ceiling.routes)) continue
    found.push({
      path: ['egress', 'routes', route, 'url'],
      message: `${url} is not permitted to a cage.yaml`,
      line: `ceiling: {egress: {routes: [${[...(ceiling.routes ?? []), url].map(flow).join(', ')}]}}`,
    })
  }
  return found
}

function credentialExcess(
  name: string,
  credential: CredentialFile,
  path: ConfigPath,
  operator: OperatorFile,
  own: OperatorProject,
): Excess[] {
  const found: Excess[] = []
  const hasOwnSource = Object.hasOwn(own.credentials ?? {}, credential.name)
  const kind = credential.from ? (Object.keys(credential.from)[0] ?? '') : ''
  if (credential.from && !hasOwnSource && (kind === 'command' || kind === 'file'))
    found.push({
      path: [...path, 'from', kind],
      message: `only the operator may name a ${kind} as a source`,
      line: `projects: {${name}: {credentials: {${credential.name}: ${flow(credential.from)}}}}`,
    })
  const ceilings = operator.ceiling?.credentials
  if (!ceilings) return found
  const allowed = ceilings.filter((entry) => entry.name === credential.name)
  const sourceFits = (entry: {from?: string[]}) => hasOwnSource || !entry.from || entry.from.includes(kind)
  const host = credential.inject ? canonicalRuleHost(credential.inject.host) : undefined
  const hostFits = (entry: {hosts?: string[]}) =>
    host === undefined || !entry.hosts || entry.hosts.map(canonicalRuleHost).includes(host)
  if (!allowed.some((entry) => sourceFits(entry) && hostFits(entry)))
    found.push({
      path: [...path, 'name'],
      message: `the credential ${credential.name} from ${kind || 'nowhere'}${host === undefined ? '' : ` to ${host}`} is not permitted to a cage.yaml`,
      line: `ceiling: {credentials: [${flow({name: credential.name, ...(kind ? {from: [kind]} : {}), ...(host === undefined ? {} : {hosts: [host]})})}]}`,
    })
  return found
}

function covered(host: string, allowed: readonly string[]): boolean {
  return allowed.map(canonicalRuleHost).some((entry) => {
    if (entry === host) return true
    return (
      entry.startsWith('*.') && host.replace(/^\*/, '').endsWith(entry.slice(1)) && host !== entry.slice(2)
    )
  })
}

function sameUrl(a: string, b: string): boolean {
  return URL.canParse(a) && URL.canParse(b) && new URL(a).href === new URL(b).href
}

function equal(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b)
}

/** A value as flow YAML on one line; JSON is YAML. */
function flow(value: unknown): string {
  const plain = typeof value === 'string' && /^[A-Za-z][A-Za-z0-9._-]*$/.test(value)
  return plain ? value : JSON.stringify(value)
}
