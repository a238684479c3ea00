import {canonicalHost, isRefused} from './canonical.js'
import {dispatcherHosts, hostOf} from './dispatcher-hosts.js'
import type {
  CredentialFile,
  OperatorFile,
  OperatorProject,
  ProjectFile,
  RuleFile,
  Sections,
} from './file-types.js'
import type {
  BudgetSettings,
  CredentialSettings,
  CredentialSource,
  InjectSettings,
  ProjectSettings,
  Rights,
  RouteSettings,
  RuleSettings,
} from './settings.js'
import {parseDuration, parseSize} from './units.js'

/** Both files, valid, with the content of the certificates they name. */
export interface ConfigFiles {
  name: string
  /** what the project would be called without cage.yaml */
  folderName?: string | undefined
  /** absent = there is no cage.yaml */
  project?: ProjectFile
  operator: OperatorFile
  /** PEM by path as written */
  certificates: ReadonlyMap<string, string>
  /** home directory of the operator, for `~/` */
  home: string
}

interface Layer {
  /** first part of rule ids, e.g. `cage.yaml:` */
  origin: string
  sections: Sections
}

/** Settings with and without cage.yaml; pure. */
export function buildSettings(files: ConfigFiles): ProjectSettings {
  const {name, project, operator, home} = files
  const own = ownProject(operator, name)
  const ownLayers: Layer[] = [
    {origin: 'config.yaml:defaults.', sections: operator.defaults ?? {}},
    {origin: `config.yaml:projects.${name}.`, sections: own ?? {}},
  ]
  const layers = project ? [ownLayers[0], {origin: 'cage.yaml:', sections: project}, ownLayers[1]] : ownLayers
  const all = layers.filter((layer) => layer !== undefined)
  const machine = pick(all, 'machine')
  const cluster = pick(all, 'cluster')
  const {network = {}} = operator
  return {
    project: name,
    claimsEntry: own !== undefined && name !== files.folderName,
    ...(project ? {file: 'cage.yaml'} : {}),
    machine: {
      driver: machine.driver ?? 'auto',
      cpus: machine.cpus ?? 4,
      memoryBytes: bytes(machine.memory ?? '8GiB'),
      diskBytes: bytes(machine.disk ?? '60GiB'),
      ...(machine.image === undefined ? {} : {image: expand(machine.image, home)}),
      ...(machine.ssh ? {ssh: machine.ssh} : {}),
    },
    cluster: {
      ...cluster,
      kind: cluster.kind ?? 'auto',
      ...(cluster.kubeconfig === undefined ? {} : {kubeconfig: expand(cluster.kubeconfig, home)}),
      ...(cluster.registryAuth === undefined ? {} : {registryAuth: expand(cluster.registryAuth, home)}),
    },
    network: {
      resolver: network.resolver ?? [],
      ...(network.upstreamProxy === undefined ? {} : {upstreamProxy: network.upstreamProxy}),
      hosts: Object.entries(network.hosts ?? {}).map(([host, {address, port, ca}]) => ({
        host,
        address,
        port: port ?? 443,
        ...pemOf(files, ca),
      })),
      allowAddresses: network.allowAddresses ?? [],
    },
    import: (operator.import ?? []).map((path) => expand(path, home)),
    github: githubSettings(operator.github, home),
    ...rights(files, all, project),
    baseline: rights(files, ownLayers, undefined),
  }
}

function githubSettings(
  {app, installation, key, allowClassicToken = false}: NonNullable<OperatorFile['github']> = {},
  home: string,
): ProjectSettings['github'] {
  if (app === undefined || installation === undefined || key === undefined) return {allowClassicToken}
  return {app: {app, installation, key: expandSource(key, home)}, allowClassicToken}
}

export function ownProject(operator: OperatorFile, name: string): OperatorProject | undefined {
  const {projects = {}} = operator
  return Object.hasOwn(projects, name) ? projects[name] : undefined
}

/** One section of all layers, the last one that says something wins. */
function pick<K extends keyof Sections>(layers: readonly Layer[], section: K): NonNullable<Sections[K]> {
  return Object.assign({}, ...layers.map(({sections}) => sections[section] ?? {})) as NonNullable<Sections[K]>
}

function rights(files: ConfigFiles, layers: readonly Layer[], project: ProjectFile | undefined): Rights {
  const repository = pick(layers, 'repository')
  const task = pick(layers, 'task')
  const push = Object.assign({}, ...layers.map(({sections}) => sections.git?.push ?? {})) as NonNullable<
    NonNullable<Sections['git']>['push']
  >
  const onFinding = layers.flatMap(({sections}) => sections.git?.secrets?.onFinding ?? []).at(-1)
  const author = /^(.*) <(.*)>$/.exec(task.author ?? `cage <cage@${files.name}.invalid>`)
  return {
    repository: {
      upstream: repository.upstream ?? 'hosted',
      ...(repository.credential === undefined ? {} : {credential: repository.credential}),
      read: repository.read ?? [],
      ...(repository.base === undefined ? {} : {base: repository.base}),
      mode: repository.mode ?? 'direct',
    },
    task: {
      agent: task.agent ?? 'claude',
      image: task.image ?? 'default',
      cpu: task.cpu ?? 2,
      memoryBytes: bytes(task.memory ?? '4GiB'),
      diskBytes: bytes(task.disk ?? '10GiB'),
      env: Object.assign({}, ...layers.map(({sections}) => sections.task?.env ?? {})) as Record<
        string,
        string
      >,
      files: unique(layers.flatMap(({sections}) => sections.task?.files ?? [])).map(plainPath),
      ...(task.setup === undefined ? {} : {setup: plainPath(task.setup)}),
      author: {name: author?.[1] ?? 'cage', email: author?.[2] ?? `cage@${files.name}.invalid`},
      budget: budget(layers),
    },
    egress: {
      presets: unique(layers.flatMap(({sections}) => sections.egress?.presets ?? [])).sort(),
      allow: rules(layers, 'allow'),
      deny: rules(layers, 'deny'),
      audit: rules(layers, 'audit'),
      routes: layers.flatMap(({sections}) =>
        Object.entries(sections.egress?.routes ?? {}).map(([name, value]) => route(files, name, value)),
      ),
    },
    credentials: credentials(files, project?.credentials ?? []),
    git: {
      force: push.force ?? false,
      delete: push.delete ?? false,
      tags: unique(push.tags ?? []),
      deny: unique(push.deny ?? ['ci', '.gitmodules', '**/.gitattributes']),
      maxBlobBytes: bytes(push.maxBlob ?? '10MiB'),
      author: push.author ?? 'any',
      onFinding: onFinding ?? 'deny',
      allow: unique(layers.flatMap(({sections}) => sections.git?.secrets?.allow ?? [])).sort(),
    },
  }
}

/** The smallest of each: a project can tighten what the operator set, not loosen it; the operator's own entry for it can. */
function budget(layers: readonly Layer[]): BudgetSettings {
  const result: BudgetSettings = {}
  for (const {origin, sections} of layers) {
    const {tokens, usd, time, upload} = sections.task?.budget ?? {}
    const given: BudgetSettings = {
      ...(tokens === undefined ? {} : {tokens}),
      ...(usd === undefined ? {} : {usd}),
      ...(time === undefined ? {} : {seconds: parseDuration(time) ?? 0}),
      ...(upload === undefined ? {} : {uploadBytes: bytes(upload)}),
    }
    for (const key of ['tokens', 'usd', 'seconds', 'uploadBytes'] as const) {
      const value = given[key]
      if (value === undefined) continue
      const wins = origin.startsWith('config.yaml:projects.')
      result[key] = wins ? value : Math.min(value, result[key] ?? value)
    }
  }
  return result
}

function rules(layers: readonly Layer[], kind: 'allow' | 'deny' | 'audit'): RuleSettings[] {
  return layers.flatMap(({origin, sections}) =>
    (sections.egress?.[kind] ?? []).map((rule, index) =>
      ruleSettings(rule, `${origin}${kind}[${index}]`, kind),
    ),
  )
}

function ruleSettings(rule: RuleFile, id: string, kind: 'allow' | 'deny' | 'audit'): RuleSettings {
  const port = rule.port ?? (kind === 'deny' ? undefined : rule.scheme === 'http' ? 80 : 443)
  const scheme = rule.scheme ?? (kind === 'deny' ? undefined : port === 80 ? 'http' : 'https')
  const {rate} = rule
  return {
    id,
    host: canonicalRuleHost(rule.host),
    ...(port === undefined ? {} : {port}),
    ...(scheme === undefined ? {} : {scheme}),
    ...(rule.methods ? {methods: unique(rule.methods.map((method) => method.toUpperCase()))} : {}),
    ...(rule.paths ? {paths: unique(rule.paths)} : {}),
    ...(rule.websocket === true ? {websocket: true} : {}),
    ...(rule.mcp ? {mcp: rule.mcp} : {}),
    ...(rate
      ? {
          rate: {
            ...(rate.rps === undefined ? {} : {rps: rate.rps}),
            ...(rate.concurrency === undefined ? {} : {concurrency: rate.concurrency}),
            ...(rate.bytesUp === undefined ? {} : {bytesUp: bytes(rate.bytesUp)}),
          },
        }
      : {}),
  }
}

/** Canonical form of a host that was checked before. */
export function canonicalRuleHost(host: string): string {
  const suffix = host.startsWith('*.') ? host.slice(2) : host
  const canonical = canonicalHost(suffix)
  const name = isRefused(canonical) ? suffix.toLowerCase() : canonical.host
  return host.startsWith('*.') ? `*.${name}` : name
}

function route(
  files: ConfigFiles,
  name: string,
  {url, ca, pin}: {url: string; ca?: string; pin?: string},
): RouteSettings {
  const address = routeAddress(files.operator, url) ?? ''
  return {name, url, address, ...pemOf(files, ca), ...(pin === undefined ? {} : {pin})}
}

/** The address a route leads to: that in the URL, or the operator's way to its name; undefined = nobody said. */
export function routeAddress(operator: OperatorFile, url: string): string | undefined {
  const host = canonicalHost(hostOf(url))
  if (isRefused(host)) return undefined
  if (host.kind !== 'name') return host.host
  const {hosts = {}} = operator.network ?? {}
  return Object.hasOwn(hosts, host.host) ? hosts[host.host]?.address : undefined
}

function credentials(files: ConfigFiles, declared: readonly CredentialFile[]): CredentialSettings[] {
  const {operator, name} = files
  const sources = ownProject(operator, name)?.credentials ?? {}
  const bound = declared.map((credential) => {
    const own = Object.hasOwn(sources, credential.name) ? sources[credential.name] : undefined
    const from = own ?? credential.from
    return {
      name: credential.name,
      from: from ? [expandSource(from, files.home)] : [],
      ...(credential.inject ? {inject: injectSettings(credential.inject)} : {}),
      ...(credential.as === undefined
        ? credential.inject?.sigv4
          ? {as: 'AWS_ACCESS_KEY_ID'}
          : {}
        : {as: credential.as}),
    }
  })
  const rest = Object.entries(sources).filter(
    ([known]) => !declared.some((credential) => credential.name === known),
  )
  return [...bound, ...rest.map(([known, from]) => ({name: known, from: [expandSource(from, files.home)]}))]
}

function injectSettings(inject: NonNullable<CredentialFile['inject']>): InjectSettings {
  const place = {host: canonicalRuleHost(inject.host), port: inject.port ?? 443}
  if (inject.basic) return {...place, kind: 'basic', user: inject.basic.user}
  if (inject.jsonPointer !== undefined) return {...place, kind: 'json', pointer: inject.jsonPointer}
  if (inject.sigv4) return {...place, kind: 'sigv4', ...inject.sigv4}
  return {
    ...place,
    kind: 'header',
    header: (inject.header ?? '').toLowerCase(),
    template: inject.template ?? '{}',
  }
}

function expandSource(source: CredentialSource, home: string): CredentialSource {
  return 'file' in source ? {file: expand(source.file, home)} : source
}

/** `~/` is the operator's home directory. */
export function expand(path: string, home: string): string {
  return path.startsWith('~/') ? `${home}/${path.slice(2)}` : path
}

function pemOf(files: ConfigFiles, path: string | undefined): {ca?: string} {
  const ca = path === undefined ? undefined : files.certificates.get(path)
  return ca === undefined ? {} : {ca}
}

function plainPath(path: string): string {
  return path.replace(/^\.\//, '')
}

function bytes(size: string): number {
  return parseSize(size) ?? 0
}

function unique<T>(items: readonly T[]): T[] {
  return [...new Set(items)]
}

/** Names that are always routed to the dispatcher for these settings. */
export function routedHosts(settings: Pick<Rights, 'repository'>): string[] {
  return dispatcherHosts(settings.repository)
}
