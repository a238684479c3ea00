import {randomBytes} from 'node:crypto'
import {isAbsolute, relative} from 'node:path'
import {CageError, ExitCode, messageOf} from '../core/errors.js'
import type {Command, Runner} from '../core/runner.js'
import type {CredentialSettings, CredentialSource} from './settings.js'
import {sourceText} from './trust.js'

/** Where the values of credentials come from, all injected: this room reads no environment and no file by itself. */
export interface CredentialPorts {
  env: Readonly<Record<string, string | undefined>>
  runner: Pick<Runner, 'run'>
  platform: NodeJS.Platform
  /** text of a file; undefined when there is none */
  readFile(path: string): Promise<string | undefined>
  realpath(path: string): Promise<string>
  /** top level of the repository */
  repository: string
  /** home directory: where commands run, never in the repository */
  home: string
}

const COMMAND_DEADLINE_MS = 30_000
/** Shorter values would be found by chance wherever text is scanned for them. */
const MIN_LENGTH = 8
const MAX_LENGTH = 16 * 1024
/** How much of what a source says is the value. */
type Lines = 'first' | 'whole'

/**
 * Values by credential name. Errors: CREDENTIAL_MISSING, exit 3, naming every missing one and where it was looked for;
 * CREDENTIAL_UNUSABLE, exit 3. Messages never contain a value.
 */
export async function resolveCredentials(
  credentials: readonly CredentialSettings[],
  ports: CredentialPorts,
): Promise<Record<string, string>> {
  const values: Record<string, string> = {}
  const missing: string[] = []
  for (const credential of credentials) {
    const value = await firstValue(credential.from, ports)
    if (value === undefined) {
      const places = credential.from.map(sourceText)
      missing.push(
        `credential ${credential.name} has no value: ${places.length === 0 ? 'nothing says where it is' : `looked in ${places.join(' and ')}`}`,
      )
    } else values[credential.name] = checked(credential.name, value)
  }
  if (missing.length === 0) return values
  throw new CageError(missing.join('\n'), {
    code: 'CREDENTIAL_MISSING',
    exitCode: ExitCode.precondition,
    hints: ['Set one of these and try again. `--agent shell` needs no credential.'],
  })
}

/** Errors: CREDENTIAL_UNUSABLE. */
function checked(name: string, value: string): string {
  const unusable = (problem: string) =>
    new CageError(`the value of credential ${name} ${problem}`, {
      code: 'CREDENTIAL_UNUSABLE',
      exitCode: ExitCode.precondition,
      hints: ['Check where it comes from: docs/reference/cage-yaml.md, `credentials`.'],
    })
  if (!/^[\u0021-\u007e]+(?: [\u0021-\u007e]+)*$/.test(value))
    throw unusable('is not one line of printable ASCII')
  if (value.length < MIN_LENGTH) throw unusable(`is shorter than ${MIN_LENGTH} characters`)
  if (value.length > MAX_LENGTH) throw unusable(`is longer than ${MAX_LENGTH} characters`)
  return value
}

/**
 * A value of several lines, such as a private key in PEM.
 * Errors: CREDENTIAL_MISSING and CREDENTIAL_UNUSABLE, exit 3. Messages never contain a value.
 */
export async function resolveText(
  name: string,
  source: CredentialSource,
  ports: CredentialPorts,
): Promise<string> {
  const value = (await read(source, ports, 'whole'))?.trim()
  if (value !== undefined && value !== '' && value.length <= MAX_LENGTH) return `${value}\n`
  throw new CageError(`${name} has no value: looked in ${sourceText(source)}`, {
    code: 'CREDENTIAL_MISSING',
    exitCode: ExitCode.precondition,
    hints: ['Check where it comes from, in your own config.yaml.'],
  })
}

async function firstValue(
  sources: readonly CredentialSource[],
  ports: CredentialPorts,
): Promise<string | undefined> {
  for (const source of sources) {
    const value = (await read(source, ports))?.trim()
    if (value !== undefined && value !== '') return value
  }
  return undefined
}

async function read(
  source: CredentialSource,
  ports: CredentialPorts,
  lines: Lines = 'first',
): Promise<string | undefined> {
  if ('env' in source) return ports.env[source.env]
  if ('dotenv' in source) {
    const path = `${ports.repository}/.env`
    const text = await ports.readFile(path)
    if (text === undefined) return undefined
    if (!(await isInside(ports, path)))
      throw refusedFile('.env', 'is a link that leads out of the repository')
    return parseDotenv(text)[source.dotenv]
  }
  if ('file' in source) {
    const text = await ports.readFile(source.file)
    if (text !== undefined && (await isInside(ports, source.file)))
      throw refusedFile(source.file, 'lies inside the repository: an agent may have written it')
    return text
  }
  if ('command' in source) return run(ports, source.command, lines)
  return keychain(ports, source.keychain, lines)
}

/** Links followed; what does not exist lies nowhere. */
async function isInside(ports: CredentialPorts, path: string): Promise<boolean> {
  const inner = relative(await ports.realpath(ports.repository), await ports.realpath(path).catch(() => path))
  return inner !== '' && !inner.startsWith('..') && !isAbsolute(inner)
}

function refusedFile(path: string, problem: string): CageError {
  return new CageError(`no credential is read from ${path}: it ${problem}`, {
    code: 'CREDENTIAL_UNUSABLE',
    exitCode: ExitCode.precondition,
  })
}

async function run(
  ports: CredentialPorts,
  argv: readonly string[],
  lines: Lines,
): Promise<string | undefined> {
  const [program, ...rest] = argv
  if (program === undefined) return undefined
  if (isAbsolute(program) && (await isInside(ports, program)))
    throw refusedFile(program, 'lies inside the repository: an agent may have written it')
  const command: Command = {argv: [program, ...rest], cwd: ports.home, timeoutMs: COMMAND_DEADLINE_MS}
  const {code, stdout, stderr} = await ports.runner.run(command)
  if (code === 0) return lines === 'whole' ? stdout.toString() : stdout.toString().split('\n')[0]
  // Its stderr is for the person; its stdout may hold a part of the value.
  throw new CageError(`\`${program}\` gave no credential: exit code ${code}\n${stderr.trim().slice(-500)}`, {
    code: 'CREDENTIAL_MISSING',
    exitCode: ExitCode.precondition,
    hints: [`Run \`${argv.join(' ')}\` yourself.`],
  })
}

async function keychain(ports: CredentialPorts, entry: string, lines: Lines): Promise<string | undefined> {
  const slash = entry.indexOf('/')
  const [service, account] = slash < 0 ? [entry] : [entry.slice(0, slash), entry.slice(slash + 1)]
  const argv: [string, ...string[]] =
    ports.platform === 'darwin'
      ? [
          'security',
          'find-generic-password',
          '-w',
          '-s',
          service,
          ...(account === undefined ? [] : ['-a', account]),
        ]
      : ['secret-tool', 'lookup', 'service', service, ...(account === undefined ? [] : ['account', account])]
  try {
    const {code, stdout} = await ports.runner.run({argv, cwd: ports.home, timeoutMs: COMMAND_DEADLINE_MS})
    if (code !== 0) return undefined
    return lines === 'whole' ? stdout.toString() : stdout.toString().split('\n')[0]
  } catch (cause) {
    throw new CageError(`the keychain cannot be asked: ${messageOf(cause)}`, {
      code: 'CREDENTIAL_MISSING',
      exitCode: ExitCode.precondition,
      hints: ports.platform === 'darwin' ? [] : ['Install libsecret-tools, or use another source.'],
      cause,
    })
  }
}

/** `NAME=value` lines with comments, `export` and quotes; later lines win. */
export function parseDotenv(text: string): Record<string, string> {
  const values = new Map<string, string>()
  for (const line of text.split(/\r?\n/)) {
    const match = /^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*?)\s*$/.exec(line)
    if (!match) continue
    const [, name = '', raw = ''] = match
    const quoted = /^"((?:[^"\\]|\\.)*)"|^'([^']*)'/.exec(raw)
    const plain = raw.replace(/\s+#.*$/, '')
    const value = quoted ? (quoted[1]?.replace(/\\(["\\$])/g, '$1') ?? quoted[2]) : plain
    values.set(name, value ?? '')
  }
  return Object.fromEntries(values)
}

/**
 * What the agent sees in place of a value: random per task and credential, in the shape that the provider's own
 * clients accept, always of the same length.
 */
export function newPlaceholder({inject}: Pick<CredentialSettings, 'inject'>): string {
  const random = (length: number) => randomBytes(length).toString('hex').slice(0, length)
  if (inject?.host === 'api.anthropic.com')
    return `sk-ant-${inject.kind === 'header' && inject.header === 'x-api-key' ? 'api03' : 'oat01'}-${random(93)}AA`
  if (inject?.host === 'api.openai.com') return `sk-proj-${random(96)}`
  if (inject?.host === 'generativelanguage.googleapis.com') return `AIza${random(35)}`
  return `cage_placeholder_${random(48)}`
}
