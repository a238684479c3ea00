import {readFile} from 'node:fs/promises'
import {join} from 'node:path'
import {CageError, ExitCode, messageOf} from '../../core/errors.js'
import type {Runner} from '../../core/runner.js'
import {readIfThere} from '../state/files.js'
import type {RegistryPlace} from './reference.js'

/** User and password for one registry, of the person. */
export interface RegistryAccount {
  user: string
  password: string
  /** the same alone, in the format that the kubelet takes; absent where it is not for the nodes */
  dockerConfig?: string
}

export interface AccountSources {
  runner: Runner
  env: Readonly<Record<string, string>>
  /** the person's home */
  home: string
}

/**
 * The account for a registry. `file` is the operator's word, in the format of Docker's config.json: it must have one, and a
 * password that stands in it is for the nodes too. Without it Docker's own file is looked at, for pushing only.
 * Credential helpers (`credHelpers`, `credsStore`) are asked as Docker asks them; what they hand out is for pushing only.
 * Errors: REGISTRY_ACCOUNT, exit 3; no message shows a value of a file or of a helper.
 */
export async function findAccount(
  file: string | undefined,
  place: RegistryPlace,
  sources: AccountSources,
): Promise<RegistryAccount | undefined> {
  if (file === undefined) return accountOfDocker(place, sources)
  const text = await readFile(file, 'utf8').catch((cause: unknown) => {
    throw unusable(`${file} is not readable: ${messageOf(cause)}`)
  })
  const found = await accountIn(text, file, place, sources)
  if (found) return found
  throw unusable(`${file} has no account for ${place.host}`)
}

async function accountOfDocker(
  place: RegistryPlace,
  sources: AccountSources,
): Promise<RegistryAccount | undefined> {
  const file = join(sources.env['DOCKER_CONFIG'] ?? join(sources.home, '.docker'), 'config.json')
  const text = await readIfThere(file)
  const found = text === undefined ? undefined : await accountIn(text, file, place, sources)
  // A personal login is nothing to lay into a cluster unasked.
  return found && {user: found.user, password: found.password}
}

interface DockerConfig {
  auths?: Record<string, {auth?: unknown} | null>
  credHelpers?: Record<string, unknown>
  credsStore?: unknown
}

async function accountIn(
  text: string,
  file: string,
  place: RegistryPlace,
  sources: AccountSources,
): Promise<RegistryAccount | undefined> {
  const config = parsed(text, file)
  const keys = [place.account, `https://${place.account}`]
  const helper = keys.map((key) => config.credHelpers?.[key]).find((name) => name !== undefined)
  const auth = keys.map((key) => config.auths?.[key]?.auth).find((value) => typeof value === 'string')
  if (helper === undefined && typeof auth === 'string' && auth !== '') {
    const plain = Buffer.from(auth, 'base64').toString()
    const colon = plain.indexOf(':')
    if (colon < 1) throw unusable(`the account for ${place.host} in ${file} is not user and password`)
    const dockerConfig = JSON.stringify({auths: {[place.account]: {auth}}})
    return {user: plain.slice(0, colon), password: plain.slice(colon + 1), dockerConfig}
  }
  const program = helper ?? config.credsStore
  return typeof program === 'string' ? accountOfHelper(program, place, sources) : undefined
}

/** docker-credential-helpers: the server's name on stdin of `get`, JSON on stdout; exit code 1 when it has none. */
async function accountOfHelper(
  name: string,
  place: RegistryPlace,
  {runner, env}: AccountSources,
): Promise<RegistryAccount | undefined> {
  if (!/^[A-Za-z0-9._-]+$/.test(name)) throw unusable('the name of a credential helper is not a name')
  const program = `docker-credential-${name}`
  const {code, stdout} = await runner
    .run({argv: [program, 'get'], input: place.account, env, timeoutMs: 30_000})
    .catch((cause: unknown) => {
      throw unusable(`${program}, which Docker's configuration names, cannot be asked: ${messageOf(cause)}`)
    })
  if (code !== 0) return undefined
  const {Username: user, Secret: password} = parsed(stdout.toString(), program) as Record<string, unknown>
  if (typeof user === 'string' && typeof password === 'string' && user !== '' && user !== '<token>')
    return {user, password}
  throw unusable(`${program} has no user and password for ${place.host}`)
}

function parsed(text: string, where: string): DockerConfig {
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value === 'object' && value !== null) return value
  } catch {
    // The parser's message would quote the text.
  }
  throw unusable(`${where} does not speak JSON as Docker does`)
}

function unusable(message: string): CageError {
  return new CageError(message, {
    code: 'REGISTRY_ACCOUNT',
    exitCode: ExitCode.precondition,
    hints: [
      'Log in with `docker login HOST`, or write a file of its own with `docker --config DIR login HOST` or `podman login --authfile FILE HOST` and name it in `cluster.registryAuth`.',
    ],
  })
}
