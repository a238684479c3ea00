import {readFile, stat} from 'node:fs/promises'
import {basename, join} from 'node:path'
import {runOk} from '../../core/process.js'
import type {Runner} from '../../core/runner.js'
import {built, resultDirectory, type BuildCache, type BuildRequest} from '../build-cache.js'

/** What a node in namespaces starts from, built once on a computer. */
export interface NodeParts {
  /** read-only root file systems, topmost first */
  layers: string[]
  /** images of the control plane: `*.tar` and `references`, one name a line */
  images: string
  /** name → version, e.g. `kubernetes` → `v1.36.3` */
  versions: Record<string, string>
}

export const imagePrefix = 'cage.local/kubernetes'

/** Builds what is missing; minutes the first time, with progress through `cache.detail`. */
export async function nodeParts(runner: Runner, packageRoot: string, cache: BuildCache): Promise<NodeParts> {
  const run: Run = async (argv) => {
    // `timeout` ends a build with everything it started when it is itself told to end.
    const whole: [string, ...string[]] = ['timeout', '--kill-after=5', '0', ...argv]
    await runOk(runner, {argv: whole, signal: cache.signal, onOutput: progress(cache.detail)})
  }
  const kubernetes = await built(kubernetesRequest(packageRoot, run), cache)
  const root = await built(rootRequest(packageRoot, run), cache)
  const images = await built(controlPlaneRequest(packageRoot, kubernetes, root, run), cache)
  return {
    layers: [join(kubernetes, 'node'), root],
    images,
    versions: parseVersions(await readFile(join(kubernetes, 'versions'), 'utf8')),
  }
}

/** Names of what `nodeParts` builds, without building it: they change when any of its inputs does. */
export async function nodePartNames(packageRoot: string, cacheDirectory: string): Promise<string[]> {
  const none: Run = () => Promise.resolve()
  const kubernetes = await resultDirectory(kubernetesRequest(packageRoot, none), cacheDirectory)
  const root = await resultDirectory(rootRequest(packageRoot, none), cacheDirectory)
  const request = controlPlaneRequest(packageRoot, kubernetes, root, none)
  const images = await resultDirectory(request, cacheDirectory)
  return [kubernetes, root, images].map((directory) => basename(directory))
}

type Run = (argv: [string, ...string[]]) => Promise<void>

function kubernetesRequest(packageRoot: string, run: Run): BuildRequest {
  const source = join(packageRoot, 'images/kubernetes')
  const inputs = ['build.sh', 'build-runc.sh', 'pause.c', 'kubernetes', 'etcd', 'containerd', 'runc']
  return {
    name: 'kubernetes',
    inputs: inputs.map((input) => join(source, input)),
    facts: [process.arch],
    build: (directory) => run([join(source, 'build.sh'), directory]),
  }
}

function rootRequest(packageRoot: string, run: Run): BuildRequest {
  const scripts = ['node-root.sh', 'debian-root.sh', 'apt-settings.sh'].map((name) =>
    guest(packageRoot, name),
  )
  return {
    name: 'node-root',
    inputs: scripts,
    facts: [process.arch],
    build: (directory) => run([guest(packageRoot, 'node-root.sh'), directory]),
  }
}

function controlPlaneRequest(packageRoot: string, kubernetes: string, root: string, run: Run): BuildRequest {
  const pack = join(packageRoot, 'images/kubernetes/pack.sh')
  return {
    name: 'control-plane',
    inputs: [pack, guest(packageRoot, 'pack-image.sh')],
    facts: [kubernetes, root],
    build: (directory) => run([pack, kubernetes, root, directory, imagePrefix]),
  }
}

function guest(packageRoot: string, name: string): string {
  return join(packageRoot, 'provision/guest', name)
}

/** True when no compiler is needed any more on this computer. */
export async function kubernetesIsBuilt(packageRoot: string, cacheDirectory: string): Promise<boolean> {
  const directory = await resultDirectory(
    kubernetesRequest(packageRoot, () => Promise.resolve()),
    cacheDirectory,
  )
  return (await stat(directory).catch(() => undefined)) !== undefined
}

function parseVersions(text: string): Record<string, string> {
  return Object.fromEntries(
    text
      .trim()
      .split('\n')
      .map((line) => {
        const [name = '', version = ''] = line.split(' ')
        return [name, version]
      }),
  )
}

/** Turns the builders' output into one line: `== TITLE` names the part, every other line is counted. */
export function progress(detail: (text: string) => void): (chunk: Buffer) => void {
  let title = ''
  let count = 0
  let rest = ''
  return (chunk) => {
    const lines = (rest + chunk.toString()).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) {
      if (line.startsWith('== ')) {
        title = line.slice(3)
        count = 0
      } else if (/^[\w./-]+$/.test(line)) count++
      const last = line.startsWith('I: ') ? line.slice(3) : undefined
      detail(last ?? (count > 0 ? `${title}, ${count} packages compiled` : title))
    }
  }
}
