import {X509Certificate} from 'node:crypto'
import {readFile, realpath} from 'node:fs/promises'
import {isAbsolute, join, relative, sep} from 'node:path'
import {CageError, ExitCode, messageOf} from '../core/errors.js'
import {expand, routeAddress} from './build.js'
import type {OperatorFile, ProjectFile, Sections} from './file-types.js'
import type {ConfigPath, Problem} from './problems.js'

/** Files that the configuration names: those of a cage.yaml lie in the repository, those of the operator never do. */
export interface NamedFiles {
  /** PEM by path as written */
  certificates: ReadonlyMap<string, string>
  project: Problem[]
  operator: Problem[]
}

export interface NamedFilesOptions {
  /** top level of the repository */
  directory: string
  home: string
  project: ProjectFile | undefined
  operator: OperatorFile
}

/** Reads every certificate; what is missing, no certificate or in the wrong place is a problem. */
export async function readNamedFiles(options: NamedFilesOptions): Promise<NamedFiles> {
  const {directory, home, project, operator} = options
  const certificates = new Map<string, string>()
  const problems = {project: [] as Problem[], operator: [] as Problem[]}
  const read = async (side: 'project' | 'operator', path: ConfigPath, ca: string | undefined) => {
    if (ca === undefined) return
    try {
      const real =
        side === 'project'
          ? await insideRepository(directory, ca)
          : await outside(directory, expand(ca, home))
      certificates.set(ca, await readCertificate(real))
    } catch (error) {
      problems[side].push({path, message: messageOf(error)})
    }
  }
  const layers: ['project' | 'operator', ConfigPath, Sections][] = [
    ['project', [], project ?? {}],
    ['operator', ['defaults'], operator.defaults ?? {}],
    ...Object.entries(operator.projects ?? {}).map(([name, sections]): ['operator', ConfigPath, Sections] => [
      'operator',
      ['projects', name],
      sections,
    ]),
  ]
  for (const [side, root, {egress, cluster}] of layers) {
    for (const [name, {url, ca}] of Object.entries(egress?.routes ?? {})) {
      const at = [...root, 'egress', 'routes', name]
      if (routeAddress(operator, url) === undefined)
        problems[side].push({
          path: [...at, 'url'],
          message: 'needs an address: write one, or add its name to network.hosts of the operator',
        })
      await read(side, [...at, 'ca'], ca)
    }
    for (const field of ['kubeconfig', 'registryAuth'] as const) {
      const file = cluster?.[field]
      if (side === 'operator' && file !== undefined)
        await outside(directory, expand(file, home)).catch((error: unknown) => {
          problems.operator.push({path: [...root, 'cluster', field], message: messageOf(error)})
        })
    }
  }
  for (const [host, {ca}] of Object.entries(operator.network?.hosts ?? {}))
    await read('operator', ['network', 'hosts', host, 'ca'], ca)
  return {certificates, ...problems}
}

async function readCertificate(path: string): Promise<string> {
  try {
    const pem = await readFile(path, 'utf8')
    new X509Certificate(pem)
    return pem
  } catch (cause) {
    throw unusable(`is not a readable PEM certificate: ${messageOf(cause)}`)
  }
}

/** The real path of a file of the repository, links followed. Errors: CONFIG_INVALID for one that lies elsewhere. */
export async function insideRepository(directory: string, path: string): Promise<string> {
  const real = await realpath(join(directory, path)).catch((cause: unknown) => {
    throw unusable(`is not a readable PEM certificate: ${messageOf(cause)}`)
  })
  if (!isAbsolute(path) && (await isInside(directory, real))) return real
  throw unusable('must lie inside the repository')
}

/** A file of the operator that an agent cannot have written; one that is missing is found out where it is used. */
async function outside(directory: string, path: string): Promise<string> {
  const real = await realpath(path).catch(() => path)
  if (await isInside(directory, real)) throw unusable('must not lie inside the repository')
  return real
}

async function isInside(directory: string, real: string): Promise<boolean> {
  const inner = relative(await realpath(directory), real)
  return inner !== '' && !isAbsolute(inner) && inner.split(sep)[0] !== '..'
}

function unusable(message: string): CageError {
  return new CageError(message, {code: 'CONFIG_INVALID', exitCode: ExitCode.usage})
}
