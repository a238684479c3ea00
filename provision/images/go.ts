import {stat} from 'node:fs/promises'
import {join} from 'node:path'
import {CageError, ExitCode, messageOf} from '../../core/errors.js'
import {runOk} from '../../core/process.js'
import type {LayerSource} from './plan.js'
import type {LayerTools} from './layers.js'
import type {TarEntry} from './tar.js'

type Programs = Extract<LayerSource, {kind: 'go'}>['programs']

/** Compiles programs for the machine's processor from the modules that go.sum names; the same inputs, the same bytes. */
export async function goEntries(
  draft: string,
  programs: Programs,
  {root, architecture, runner, work}: Pick<LayerTools, 'root' | 'architecture' | 'runner' | 'work'>,
): Promise<TarEntry[]> {
  const entries: TarEntry[] = []
  for (const {module, package: name, version, versionVariable, to} of programs) {
    const out = join(draft, to.replaceAll('/', '-'))
    const flags = `-s -w -X ${versionVariable}=${version}`
    const settings = ['CGO_ENABLED=0', 'GOOS=linux', `GOARCH=${architecture}`, 'GOWORK=off', 'GOFLAGS=']
    const build = [
      'go',
      'build',
      '-mod=readonly',
      '-buildvcs=false',
      '-trimpath',
      '-ldflags',
      flags,
      '-o',
      out,
      name,
    ]
    work.detail(`go: ${to.split('/').at(-1) ?? ''} ${version}, some minutes the first time`)
    try {
      await runOk(runner, {
        argv: ['env', ...settings, ...build],
        cwd: join(root, module),
        signal: work.signal,
      })
    } catch (cause) {
      if (work.signal.aborted) throw cause
      throw new CageError(`a program of the images was not compiled: ${messageOf(cause)}`, {
        code: 'IMAGE_GO_FAILED',
        exitCode: ExitCode.precondition,
        hints: [
          'Projects whose upstream is GitHub need Go on this computer, for `gh`: https://go.dev/dl/.',
          'Check that Go reaches its modules (`go env GOPROXY`), then run `cage up` again.',
        ],
        cause,
      })
    }
    entries.push({kind: 'copy', path: to, mode: 0o755, from: out, size: (await stat(out)).size})
  }
  return entries
}
