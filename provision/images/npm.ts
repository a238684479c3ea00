import {copyFile, lstat, mkdir, readdir, readlink} from 'node:fs/promises'
import {join, relative} from 'node:path'
import {CageError, messageOf} from '../../core/errors.js'
import {runOk} from '../../core/process.js'
import {npmCpu, npmFolder, type NpmPart} from './description.js'
import type {LayerTools} from './layers.js'
import type {TarEntry} from './tar.js'

/** Installs what the lock names for the machine's processor below `draft`, without running any of it; the node_modules folder. */
export async function stageNpm(
  draft: string,
  {root, architecture, runner, work}: Pick<LayerTools, 'root' | 'architecture' | 'runner' | 'work'>,
): Promise<string> {
  const folder = join(draft, 'npm')
  await mkdir(folder)
  for (const file of ['package.json', 'package-lock.json']) {
    await copyFile(join(root, npmFolder, file), join(folder, file))
  }
  const platform = ['--os=linux', `--cpu=${npmCpu(architecture)}`, '--libc=glibc']
  const quiet = ['--ignore-scripts', '--no-audit', '--no-fund', '--no-progress', '--loglevel=error']
  work.detail('npm: Node, npm and Claude Code')
  try {
    await runOk(runner, {argv: ['npm', 'ci', ...quiet, ...platform], cwd: folder, signal: work.signal})
  } catch (cause) {
    if (work.signal.aborted) throw cause
    throw new CageError(`npm did not install what the images need: ${messageOf(cause)}`, {
      code: 'IMAGE_NPM_FAILED',
      hints: ['Check that npm reaches its registry (`npm ping`), then run `cage up` again.'],
      cause,
    })
  }
  return join(folder, 'node_modules')
}

/** The files of the parts, with modes 0755 and 0644 only. */
export async function npmEntries(modules: string, parts: readonly NpmPart[]): Promise<TarEntry[]> {
  const entries: TarEntry[] = []
  for (const {from, to, except = []} of parts) {
    const base = join(modules, from)
    await collect(base, to, (path) => except.includes(relative(base, path)), entries)
  }
  return entries
}

async function collect(
  path: string,
  to: string,
  left: (path: string) => boolean,
  entries: TarEntry[],
): Promise<void> {
  if (left(path)) return
  const facts = await lstat(path)
  if (facts.isSymbolicLink()) {
    entries.push({kind: 'link', path: to, target: await readlink(path)})
  } else if (facts.isDirectory()) {
    for (const name of await readdir(path)) await collect(join(path, name), `${to}/${name}`, left, entries)
  } else {
    const mode = (facts.mode & 0o100) === 0 ? 0o644 : 0o755
    entries.push({kind: 'copy', path: to, mode, from: path, size: facts.size})
  }
}
