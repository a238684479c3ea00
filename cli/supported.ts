import {isIPv4} from 'node:net'
import {CageError, ExitCode} from '../core/errors.js'
import type {ProjectSettings} from '../policy/settings.js'
import {upstreamKind} from '../policy/upstream-kind.js'

/**
 * What can be written in the files and is not enforced by this version stops here: a control that looks switched on and
 * is not would be worse than none. Errors: NOT_IN_THIS_VERSION, exit 3, naming everything at once.
 */
export function requireSupported(settings: ProjectSettings): void {
  const {repository, task, network} = settings
  const isElsewhere = repository.upstream !== 'hosted' || repository.read.length > 0
  const found = [
    ...(isElsewhere && network.upstreamProxy !== undefined && !isIPv4(new URL(network.upstreamProxy).hostname)
      ? [
          'network.upstreamProxy by name together with a repository that is not hosted: write its IPv4 address',
        ]
      : []),
    ...(repository.mode === 'direct' || upstreamKind(repository.upstream) === 'github'
      ? []
      : ['repository.mode fork without an upstream at github.com']),
    ...(task.image === 'default' ? [] : [`task.image ${task.image}: only \`default\``]),
    ...(settings.import.length === 0 ? [] : ['import']),
  ]
  if (found.length === 0) return
  throw new CageError(
    [
      'this version of cage does not enforce yet what your settings ask for:',
      ...found.map((one) => `  ${one}`),
    ].join('\n'),
    {
      code: 'NOT_IN_THIS_VERSION',
      exitCode: ExitCode.precondition,
      hints: ['Take it out of cage.yaml or of your own config.yaml; docs/limitations.md has the list.'],
    },
  )
}
