import {CageError, ExitCode} from '../core/errors.js'
import {resolveCredentials, resolveText} from '../policy/credentials.js'
import {hostOf} from '../policy/dispatcher-hosts.js'
import {upstreamKind} from '../policy/upstream-kind.js'
import {fingerprintsOf, MIN_EXACT_LENGTH, type ExactValue} from '../scan/exact.js'
import type {UpstreamSettings} from '../tasks/dispatcher.js'
import {requireTrust} from './approval.js'
import {resolvers} from './cluster-facts.js'
import {credentialPorts} from './credential-ports.js'
import type {ProjectContext} from './project-context.js'
import {requireSupported} from './supported.js'
import {githubHost, proxyAt, upstreamUrls} from './upstream-ways.js'

/** What lies elsewhere can be reached by this version, and is approved. Errors: exit 3, exit 4. */
export async function requireUpstreams(project: ProjectContext): Promise<void> {
  if (upstreamUrls(project.settings).length === 0) return
  requireSupported(project.settings)
  await requireTrust(project)
}

/**
 * Ways and credentials to the upstreams, for the dispatcher's `gate`; undefined when nothing is elsewhere. The
 * credential of the project goes to the upstream's host and no other.
 * Errors: NOT_TRUSTED (exit 4) before any credential is looked up, CREDENTIAL_MISSING (exit 3).
 */
export function upstreamSettings(project: ProjectContext): (() => Promise<UpstreamSettings>) | undefined {
  const urls = upstreamUrls(project.settings)
  if (urls.length === 0) return undefined
  return async () => {
    await requireUpstreams(project)
    const {repository, network} = project.settings
    const isGithub = upstreamKind(repository.upstream) === 'github'
    const {credential, appKey} = await upstreamSecrets(project)
    return {
      ...(isGithub ? {github: githubSettings(project, {credential, appKey})} : {}),
      upstreams: urls.map((url) => {
        const way = network.hosts.find(({host}) => host === hostOf(url))
        return {
          url,
          readOnly: repository.mode === 'fork' || url !== repository.upstream,
          ...(way
            ? {address: way.address, port: way.port, ...(way.ca === undefined ? {} : {ca: way.ca})}
            : {}),
          ...(credential !== undefined && !isGithub && hostOf(url) === hostOf(repository.upstream)
            ? {credential}
            : {}),
        }
      }),
      resolver: await resolvers(project),
      allowAddresses: network.allowAddresses,
      ...(network.upstreamProxy === undefined ? {} : {upstreamProxy: proxyAt(network.upstreamProxy)}),
      issued: fingerprintsOf(await upstreamValues(project)),
    }
  }
}

/** Who the dispatcher is at GitHub: the operator's app, else the token of the project. */
function githubSettings(
  {settings: {github, network, repository}}: ProjectContext,
  {credential: token, appKey}: UpstreamSecrets,
): NonNullable<UpstreamSettings['github']> {
  const places = {
    hosts: network.hosts.filter(({host}) => githubHost.test(host)),
    ...(repository.mode === 'fork' ? {forkOf: repository.upstream} : {}),
  }
  if (github.app && appKey !== undefined) {
    const {app, installation} = github.app
    return {who: {app, installation, key: appKey}, ...places}
  }
  if (token !== undefined) return {who: {token, allowClassic: github.allowClassicToken}, ...places}
  throw new CageError('nothing says who the dispatcher is at GitHub', {
    code: 'CREDENTIAL_MISSING',
    exitCode: ExitCode.precondition,
    hints: [
      'Name a GitHub App in your config.yaml: `github: {app, installation, key}`; docs/guide/github.md says how.',
      'Or name a fine-grained token for this one repository as `repository.credential`.',
    ],
  })
}

/** What `gate` holds for the upstream: no task may say it to anybody. Errors: CREDENTIAL_MISSING, exit 3. */
export async function upstreamValues(project: ProjectContext): Promise<ExactValue[]> {
  if (upstreamUrls(project.settings).length === 0) return []
  const {credential, appKey} = await upstreamSecrets(project)
  return [
    ...(credential === undefined ? [] : secretsIn(credential)),
    ...(appKey === undefined ? [] : [{id: 'github.key', value: appKey}]),
  ]
}

interface UpstreamSecrets {
  /** token or `user:password` */
  credential: string | undefined
  /** PEM */
  appKey: string | undefined
}

/** Looked up once a command: a source may ask the person. */
const found = new WeakMap<ProjectContext, Promise<UpstreamSecrets>>()

function upstreamSecrets(project: ProjectContext): Promise<UpstreamSecrets> {
  const known = found.get(project) ?? lookUp(project)
  found.set(project, known)
  return known
}

async function lookUp(project: ProjectContext): Promise<UpstreamSecrets> {
  const {github, repository} = project.settings
  if (upstreamKind(repository.upstream) !== 'github' || !github.app)
    return {credential: await upstreamCredential(project), appKey: undefined}
  const appKey = await resolveText('the key of the GitHub App', github.app.key, credentialPorts(project))
  return {credential: undefined, appKey}
}

async function upstreamCredential(project: ProjectContext): Promise<string | undefined> {
  const {settings} = project
  const name = settings.repository.credential
  if (name === undefined) return undefined
  const declared = settings.credentials.filter((credential) => credential.name === name)
  if (declared.length === 0) {
    throw new CageError(`no credential is named ${name}, which \`repository.credential\` asks for`, {
      code: 'CREDENTIAL_MISSING',
      exitCode: ExitCode.precondition,
      hints: [`Declare it in cage.yaml under \`credentials\`, or in your own config.yaml.`],
    })
  }
  const values = await resolveCredentials(declared, credentialPorts(project))
  return values[name]
}

/** A password counts without its user too. */
function secretsIn(credential: string): ExactValue[] {
  const id = 'repository.credential'
  const password = credential.slice(credential.indexOf(':') + 1)
  return [credential, ...(password === credential ? [] : [password])]
    .filter((value) => value.length >= MIN_EXACT_LENGTH)
    .map((value) => ({id, value}))
}
