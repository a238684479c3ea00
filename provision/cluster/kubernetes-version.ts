import {readFile} from 'node:fs/promises'
import {join} from 'node:path'
import {CageError, ExitCode} from '../../core/errors.js'

/** The Kubernetes that this cage brings, e.g. `v1.36.3`. */
export async function kubernetesVersion(packageRoot: string): Promise<string> {
  const text = await readFile(join(packageRoot, 'images/kubernetes/kubernetes/go.mod'), 'utf8')
  const version = /^require k8s\.io\/kubernetes (v\S+)/m.exec(text)?.[1]
  if (version !== undefined) return version
  throw new CageError('this installation of cage does not say which Kubernetes it brings', {
    code: 'PACKAGE_DAMAGED',
    hints: ['Install cage again.'],
  })
}

/**
 * Kubernetes is upgraded one minor version at a time and never back, see its version skew policy.
 * Errors: KUBERNETES_JUMP, KUBERNETES_DOWNGRADE (exit 3).
 */
export function demandUpgrade(from: string, to: string): void {
  const [before, after] = [numbers(from), numbers(to)]
  const fail = (code: string, message: string, hint: string) => {
    const otherwise = 'Or push or fetch the work of its tasks, then run `cage destroy` and `cage up`.'
    return new CageError(message, {code, exitCode: ExitCode.precondition, hints: [hint, otherwise]})
  }
  if (!before || !after) {
    const hint = 'Look at /etc/kubernetes/cage with `cage machine ssh`.'
    throw fail('KUBERNETES_JUMP', `this cluster does not say of which Kubernetes it is: "${from}"`, hint)
  }
  if (after[0] !== before[0] || after[1] > before[1] + 1) {
    throw fail(
      'KUBERNETES_JUMP',
      `this cluster is of Kubernetes ${from} and this cage brings ${to}: it is upgraded one minor version at a time`,
      `Run \`cage up\` with a cage that brings Kubernetes v${before[0]}.${before[1] + 1} first.`,
    )
  }
  if (after[1] < before[1] || (after[1] === before[1] && after[2] < before[2])) {
    throw fail(
      'KUBERNETES_DOWNGRADE',
      `this cluster is of Kubernetes ${from} and this cage brings the older ${to}`,
      'Use the cage that brought it, or a newer one.',
    )
  }
}

function numbers(version: string): [number, number, number] | undefined {
  const [, major, minor, patch] = /^v(\d+)\.(\d+)\.(\d+)$/.exec(version) ?? []
  return patch === undefined ? undefined : [Number(major), Number(minor), Number(patch)]
}
