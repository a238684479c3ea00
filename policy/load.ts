import {lstat, readFile} from 'node:fs/promises'
import {join} from 'node:path'
import {CageError, ExitCode, messageOf} from '../core/errors.js'
import {buildSettings} from './build.js'
import type {OperatorFile, ProjectFile} from './file-types.js'
import {readNamedFiles} from './named-files.js'
import type {PlacedProblem, Problem} from './problems.js'
import type {ProjectSettings} from './settings.js'

export type {ProjectSettings} from './settings.js'

const FILE = 'cage.yaml'

export interface LoadOptions {
  /** top level of the repository */
  directory: string
  /** `$XDG_CONFIG_HOME/cage/config.yaml`; may be missing */
  operatorFile: string
  /** home directory of the operator, for `~/` in that file */
  home: string
  /** the folder's name as a project name; undefined when nothing of it can stand in one */
  defaultName?: string | undefined
}

/**
 * Settings of a project: shipped defaults, operator, cage.yaml, operator's entry for the project.
 * Errors: CONFIG_INVALID (exit 2) with every problem of both files, ABOVE_CEILING (exit 4) with the lines to add.
 */
export async function loadProject(options: LoadOptions): Promise<ProjectSettings> {
  const projectText = await readRegular(join(options.directory, FILE), FILE)
  const operatorText = await readIfThere(options.operatorFile)
  // Without files there is nothing to validate, and no need to load what validates.
  const files =
    projectText === undefined && operatorText === undefined
      ? {project: undefined, operator: {}, place: unplaced, placeOperator: unplaced, problems: []}
      : await readFiles(options, projectText, operatorText)
  const problems = [...files.problems]
  const name = files.project?.project ?? options.defaultName
  if (name === undefined)
    problems.push(
      files.place({path: ['project'], message: 'is missing, and the name of the folder cannot stand for it'}),
    )
  const {project, operator, place, placeOperator} = files
  const {directory, home} = options
  const named = problems.length > 0 ? undefined : await readNamedFiles({directory, home, project, operator})
  problems.push(...(named?.project ?? []).map(place), ...(named?.operator ?? []).map(placeOperator))
  if (problems.length > 0 || name === undefined || !named) {
    const {configError} = await import('./problems.js')
    throw configError(problems)
  }
  if (project) {
    const {ceilingError, excessOf} = await import('./ceiling.js')
    const excess = excessOf(name, project, operator)
    if (excess.length > 0) throw ceilingError(excess, place, options.operatorFile)
  }
  const {certificates} = named
  return buildSettings({
    name,
    folderName: options.defaultName,
    operator,
    certificates,
    home,
    ...(project ? {project} : {}),
  })
}

interface ReadFiles {
  /** undefined when there is none; not to be used while there are problems */
  project: ProjectFile | undefined
  operator: OperatorFile
  place: (problem: Problem) => PlacedProblem
  placeOperator: (problem: Problem) => PlacedProblem
  problems: PlacedProblem[]
}

const unplaced = (problem: Problem): PlacedProblem => ({...problem, file: FILE, line: 1, column: 1})

async function readFiles(
  options: LoadOptions,
  projectText: string | undefined,
  operatorText: string | undefined,
): Promise<ReadFiles> {
  const [{readYaml}, {schemaProblems}, checks] = await Promise.all([
    import('./yaml-source.js'),
    import('./validate.js'),
    import('./check-files.js'),
  ])
  const project = readYaml(FILE, projectText ?? '')
  const operator = readYaml(options.operatorFile, operatorText ?? '')
  const problems = [...project.problems, ...operator.problems]
  const named = (project.data as {project?: unknown} | null)?.project
  const name = typeof named === 'string' ? named : options.defaultName
  const routed = checks.routedNames(project.data, operator.data, name)
  if (project.problems.length === 0)
    problems.push(
      ...onePerPath([
        ...schemaProblems('project', project.data),
        ...checks.projectFileProblems(project.data, routed),
      ]).map(project.place),
    )
  if (operator.problems.length === 0)
    problems.push(
      ...onePerPath([
        ...schemaProblems('operator', operator.data),
        ...checks.operatorFileProblems(operator.data, {name, routed}),
      ]).map(operator.place),
    )
  return {
    project: projectText === undefined ? undefined : (project.data as ProjectFile),
    operator: operator.data as OperatorFile,
    place: project.place,
    placeOperator: operator.place,
    problems,
  }
}

/** The first problem of each place: what follows from it would only repeat it. */
function onePerPath(problems: readonly Problem[]): Problem[] {
  const seen = new Set<string>()
  return problems.filter(({path}) => !seen.has(JSON.stringify(path)) && seen.add(JSON.stringify(path)))
}

/** cage.yaml as a regular file: a link in a repository could name any file of this computer. */
async function readRegular(path: string, shownAs: string): Promise<string | undefined> {
  const kind = await lstat(path).catch(() => undefined)
  if (kind === undefined) return undefined
  if (kind.isFile()) return readIfThere(path)
  throw new CageError(`${shownAs} is not a regular file`, {code: 'CONFIG_INVALID', exitCode: ExitCode.usage})
}

async function readIfThere(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8')
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw new CageError(`cannot read ${path}: ${messageOf(cause)}`, {
      code: 'CONFIG_NOT_READ',
      exitCode: ExitCode.usage,
      cause,
    })
  }
}
