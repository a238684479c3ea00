import {readFile} from 'node:fs/promises'
import {join} from 'node:path'
import {runOk} from '../../core/process.js'
import type {Runner} from '../../core/runner.js'
import {built, type BuildCache} from '../build-cache.js'

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
  const guest = (name: string) => join(packageRoot, 'provision/guest', name)
  const source = join(packageRoot, 'images/kubernetes')
  const run = async (argv: [string, ...string[]]) => {
    await runOk(runner, {argv, signal: cache.signal, onOutput: progress(cache.detail)})
  }
  const compiler = (
    await runOk(runner, {argv: ['go', 'env', 'GOVERSION', 'GOARCH'], cwd: join(source, 'runc')})
  ).toString()
  const rootScripts = [guest('debian-root.sh'), guest('apt-settings.sh')]
  const kubernetes = await built(
    {
      name: 'kubernetes',
      inputs: [
        ...['build.sh', 'build-runc.sh', 'pause.c'].map((file) => join(source, file)),
        ...['kubernetes', 'etcd', 'containerd', 'runc'].map((module) => join(source, module)),
      ],
      facts: [compiler],
      build: (directory) => run([join(source, 'build.sh'), directory]),
    },
    cache,
  )
  const root = await built(
    {
      name: 'node-root',
      inputs: [guest('node-root.sh'), ...rootScripts],
      facts: [process.arch],
      build: (directory) => run([guest('node-root.sh'), directory]),
    },
    cache,
  )
  const images = await built(
    {
      name: 'control-plane',
      inputs: [join(source, 'pack.sh'), guest('pack-image.sh')],
      facts: [kubernetes, root],
      build: (directory) => run([join(source, 'pack.sh'), kubernetes, root, directory, imagePrefix]),
    },
    cache,
  )
  return {
    layers: [join(kubernetes, 'node'), root],
    images,
    versions: parseVersions(await readFile(join(kubernetes, 'versions'), 'utf8')),
  }
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
      } else count++
      const last = line.startsWith('I: ') ? line.slice(3) : undefined
      detail(last ?? (count > 0 ? `${title}, ${count} packages compiled` : title))
    }
  }
}
