import {dispatcherHosts, hostOf} from './dispatcher-hosts.js'
import {
  branchNameProblem,
  denyPathProblem,
  exactHostProblem,
  headerProblem,
  openableAddressProblem,
  openingProblem,
  ownPathProblem,
  pathGlobProblem,
  presetProblem,
  repositoryPathProblem,
  resolverProblem,
  ruleHostProblem,
  tagProblem,
  templateProblem,
  variableProblem,
  type ValueProblem,
} from './check-values.js'
import {canonicalHost, isRefused} from './canonical.js'
import {upstreamName} from './repository-name.js'
import {shown, type ConfigPath, type Problem} from './problems.js'

/**
 * What a schema cannot say. Works on data that may still have other problems, so that all are reported together;
 * a value of a wrong type is left to the schema.
 */
export function projectFileProblems(data: unknown, routed: readonly string[] = []): Problem[] {
  const found = new Findings(data)
  const names = [...dispatcherNames(found), ...routed]
  checkSections(found, [], names)
  const credentials = found.list(['credentials'])
  credentials.forEach((path, index) => {
    checkCredential(found, path, names)
    const name = found.at([...path, 'name'])
    if (credentials.slice(0, index).some((other) => found.at([...other, 'name']) === name))
      found.add([...path, 'name'], `is in the list twice, got ${shown(name)}`)
  })
  const wanted = found.text(['repository', 'credential'])
  if (wanted !== undefined && !credentials.some((path) => found.at([...path, 'name']) === wanted))
    found.add(['repository', 'credential'], `no credential has this name, got ${shown(wanted)}`)
  return found.problems
}

/** @param project whose rules may not name what is routed for it */
export function operatorFileProblems(
  data: unknown,
  project?: {name: string | undefined; routed: readonly string[]},
): Problem[] {
  const found = new Findings(data)
  checkSections(found, ['defaults'], project?.routed ?? [])
  for (const path of found.entries(['projects'])) {
    checkSections(found, path, path.at(-1) === project?.name ? (project?.routed ?? []) : [])
    for (const source of found.entries([...path, 'credentials'])) checkSource(found, source)
  }
  checkSource(found, ['github', 'key'])
  const app = ['app', 'installation', 'key'].filter((name) => found.at(['github', name]) !== undefined)
  if (app.length === 1 || app.length === 2)
    found.add(['github'], 'is missing one of app, installation and key, which belong together', true)
  found.eachText(['import'], ownPathProblem)
  found.eachText(['network', 'resolver'], resolverProblem)
  found.eachText(['network', 'allowAddresses'], openingProblem)
  for (const path of found.entries(['network', 'hosts'])) {
    const name = String(path.at(-1))
    const canonical = canonicalHost(name)
    if (isRefused(canonical) || canonical.host !== name)
      found.add(path, `expected a host name in its canonical form, got ${shown(name)}`, true)
    found.value([...path, 'address'], openableAddressProblem)
    found.value([...path, 'ca'], ownPathProblem)
  }
  const ceiling: ConfigPath = ['ceiling']
  found.eachText([...ceiling, 'egress', 'presets'], presetProblem)
  found.eachText([...ceiling, 'egress', 'hosts'], ruleHostProblem)
  for (const path of found.list([...ceiling, 'credentials']))
    found.eachText([...path, 'hosts'], exactHostProblem)
  return found.problems
}

/** Hosts that the dispatcher has to itself, whichever of the two files says so. */
export function routedNames(project: unknown, operator: unknown, name: string | undefined): string[] {
  const own = new Findings(operator)
  const sections: [Findings, ConfigPath][] = [
    [new Findings(project), []],
    [own, ['defaults']],
    ...(name === undefined ? [] : [[own, ['projects', name]] satisfies [Findings, ConfigPath]]),
  ]
  return [...new Set(sections.flatMap(([found, root]) => dispatcherNames(found, root)))]
}

/** Collects problems and reads data without trusting its shape. */
class Findings {
  readonly problems: Problem[] = []
  private readonly data: unknown

  constructor(data: unknown) {
    this.data = data
  }

  add(path: ConfigPath, message: string, atKey = false): void {
    this.problems.push({path, message, atKey})
  }

  at(path: ConfigPath): unknown {
    let value = this.data
    for (const part of path) {
      if (typeof value !== 'object' || value === null || !Object.hasOwn(value, part)) return undefined
      value = (value as Record<string | number, unknown>)[part]
    }
    return value
  }

  text(path: ConfigPath): string | undefined {
    const value = this.at(path)
    return typeof value === 'string' && value !== '' ? value : undefined
  }

  /** Paths of the members of a list. */
  list(path: ConfigPath): ConfigPath[] {
    const value = this.at(path)
    return Array.isArray(value) ? value.map((_, index) => [...path, index]) : []
  }

  /** Paths of the values of a mapping. */
  entries(path: ConfigPath): ConfigPath[] {
    const value = this.at(path)
    const isMapping = typeof value === 'object' && value !== null && !Array.isArray(value)
    return isMapping ? Object.keys(value).map((key) => [...path, key]) : []
  }

  value(path: ConfigPath, check: (value: string) => ValueProblem): void {
    const value = this.text(path)
    const problem = value === undefined ? undefined : check(value)
    if (problem !== undefined) this.add(path, problem)
  }

  eachText(path: ConfigPath, check: (value: string) => ValueProblem): void {
    for (const member of this.list(path)) this.value(member, check)
  }
}

function dispatcherNames(found: Findings, root: ConfigPath = []): readonly string[] {
  const upstream = found.text([...root, 'repository', 'upstream']) ?? 'hosted'
  const read = found.list([...root, 'repository', 'read']).flatMap((path) => found.text(path) ?? [])
  return dispatcherHosts({upstream, read})
}

function checkSections(found: Findings, root: ConfigPath, routed: readonly string[]): void {
  const at = (...path: (string | number)[]) => [...root, ...path]
  for (const field of ['kubeconfig', 'registryAuth']) found.value(at('cluster', field), ownPathProblem)
  for (const path of [at('repository', 'upstream'), ...found.list(at('repository', 'read'))])
    found.value(path, repositoryUrlProblem)
  found.value(at('repository', 'base'), branchNameProblem)
  const upstream = found.text(at('repository', 'upstream'))
  found.value(at('repository', 'mode'), (mode) => modeProblem(mode, upstream))
  for (const path of found.entries(at('task', 'env'))) {
    const problem = variableProblem(String(path.at(-1)))
    if (problem !== undefined) found.add(path, problem, true)
  }
  found.eachText(at('task', 'files'), repositoryPathProblem)
  found.value(at('task', 'setup'), repositoryPathProblem)
  found.eachText(at('egress', 'presets'), presetProblem)
  for (const kind of ['allow', 'deny', 'audit'])
    for (const path of found.list(at('egress', kind))) checkRule(found, path, routed)
  for (const path of found.entries(at('egress', 'routes'))) {
    const name = String(path.at(-1))
    if (routed.includes(name)) found.add(path, routedMessage(name), true)
    if (root.length > 0) found.value([...path, 'ca'], ownPathProblem)
    found.value([...path, 'url'], (url) =>
      hostOf(url) === '' ? `expected an https:// address, got ${shown(url)}` : routeHostProblem(hostOf(url)),
    )
  }
  found.eachText(at('git', 'push', 'tags'), tagProblem)
  found.eachText(at('git', 'push', 'deny'), denyPathProblem)
}

/** `hosted`, or what git clients in a task can ask for: port 443, a path without anything to decode. */
function repositoryUrlProblem(url: string): ValueProblem {
  if (url === 'hosted') return undefined
  if (hostOf(url) === '' || ruleHostProblem(hostOf(url)) !== undefined)
    return `expected an address with a public host, got ${shown(url)}`
  if (new URL(url).port !== '')
    return `expected no port: write it under network.hosts of your own config.yaml, got ${shown(url)}`
  return upstreamName(url) === undefined
    ? `expected the address of a repository, such as https://git.example.com/app.git, got ${shown(url)}`
    : undefined
}

/** An upstream that another file names is looked at when both are known. */
function modeProblem(mode: string, upstream: string | undefined): ValueProblem {
  return mode === 'fork' && upstream !== undefined && hostOf(upstream) !== 'github.com'
    ? `expected an upstream at github.com for forks, got ${shown(upstream)}`
    : undefined
}

/** An address in a route may be private, never special; a name gets its address elsewhere. */
function routeHostProblem(host: string): ValueProblem {
  const canonical = canonicalHost(host)
  if (isRefused(canonical)) return `expected a host, got ${shown(host)}`
  return canonical.kind === 'name' ? undefined : openableAddressProblem(canonical.host)
}

function checkRule(found: Findings, path: ConfigPath, routed: readonly string[]): void {
  found.value([...path, 'host'], (host) => routedProblem(host, routed) ?? ruleHostProblem(host))
  found.eachText([...path, 'paths'], pathGlobProblem)
  found.eachText([...path, 'methods'], (method) =>
    method.toUpperCase() === 'CONNECT' ? 'CONNECT is not a method that rules can open' : undefined,
  )
}

function checkCredential(found: Findings, path: ConfigPath, routed: readonly string[]): void {
  checkSource(found, [...path, 'from'])
  found.value([...path, 'as'], variableProblem)
  const inject = [...path, 'inject']
  if (found.at(inject) === undefined) return
  found.value([...inject, 'host'], (host) => routedProblem(host, routed) ?? exactHostProblem(host))
  found.value([...inject, 'header'], headerProblem)
  found.value([...inject, 'template'], templateProblem)
  const kinds = ['header', 'basic', 'jsonPointer', 'sigv4']
  const given = kinds.filter((kind) => found.at([...inject, kind]) !== undefined)
  if (given.length !== 1 && typeof found.at(inject) === 'object')
    found.add(
      inject,
      `needs exactly one of ${kinds.join(', ')}, got ${given.length === 0 ? 'none' : given.join(' and ')}`,
    )
  if (found.at([...inject, 'template']) !== undefined && !given.includes('header'))
    found.add([...inject, 'template'], 'belongs to `header`')
  if (given.length === 1 && given[0] !== 'sigv4' && found.at([...path, 'as']) === undefined)
    found.add([...path, 'as'], 'is missing: the agent needs a variable that holds the placeholder')
}

function checkSource(found: Findings, path: ConfigPath): void {
  found.value([...path, 'file'], ownPathProblem)
}

function routedProblem(host: string, routed: readonly string[]): ValueProblem {
  const canonical = canonicalHost(host)
  return !isRefused(canonical) && routed.includes(canonical.host) ? routedMessage(canonical.host) : undefined
}

function routedMessage(host: string): string {
  return `${host} is reached through the dispatcher: it takes no egress rule, route or credential here`
}
