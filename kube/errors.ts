import {CageError, ExitCode, messageOf} from '../core/errors.js'
import {visible} from '../core/quote.js'

/**
 * Codes of this room.
 * - CLUSTER_UNREACHABLE: no answer from the API server
 * - CLUSTER_CERTIFICATE: its certificate is not the one of the kubeconfig
 * - CLUSTER_UNAUTHENTICATED, CLUSTER_FORBIDDEN: 401, 403
 * - ADMISSION_DENIED: an admission policy refused the object
 * - CLUSTER_NOT_FOUND, CLUSTER_CONFLICT, CLUSTER_INVALID: 404, 409, 400 and 422
 * - CLUSTER_UNAVAILABLE: 429 and 5xx
 * - CLUSTER_DEADLINE, INTERRUPTED
 * - EXEC_NOT_STARTED, EXEC_LOST: exit code 255
 * - KUBECONFIG_INVALID
 */

/** What a request was for, in words: `read Pod shop-1a2b3c4d/task-login`. */
export type Purpose = string

const repair = 'Run `cage up`; it repairs what is broken.'

/** The sentence of a Kubernetes Status, or nothing when the body is not one. */
export function statusMessage(body: string): string | undefined {
  try {
    const status = JSON.parse(body) as {kind?: unknown; message?: unknown}
    if (status.kind === 'Status' && typeof status.message === 'string') {
      return visible(status.message).slice(0, 1000)
    }
  } catch {
    // not JSON: an intermediary answered
  }
  return undefined
}

/** The error for an answer of the API server; `body` is read for its sentence only. */
export function answerError(purpose: Purpose, status: number, body: string, secret = false): CageError {
  const sentence = statusMessage(body)
  // A validation message may quote the value it refuses.
  const detail = sentence === undefined || secret ? '' : `: ${sentence}`
  const cannot = `cannot ${purpose}${detail}`
  if (status === 401) {
    return new CageError(`the cluster does not accept the credentials of the kubeconfig`, {
      code: 'CLUSTER_UNAUTHENTICATED',
      exitCode: ExitCode.precondition,
      hints: [repair],
    })
  }
  if (
    sentence !== undefined &&
    /ValidatingAdmissionPolicy|admission webhook|violates PodSecurity/.test(sentence)
  ) {
    return new CageError(cannot, {code: 'ADMISSION_DENIED', exitCode: ExitCode.denied})
  }
  if (status === 403) return new CageError(cannot, {code: 'CLUSTER_FORBIDDEN', exitCode: ExitCode.denied})
  if (status === 404) return new CageError(cannot, {code: 'CLUSTER_NOT_FOUND', exitCode: ExitCode.notFound})
  if (status === 409) return new CageError(cannot, {code: 'CLUSTER_CONFLICT'})
  if (status === 400 || status === 422) return new CageError(cannot, {code: 'CLUSTER_INVALID'})
  if (status === 429 || status >= 500) {
    return new CageError(`the cluster is not able to ${purpose} now (HTTP ${status})${detail}`, {
      code: 'CLUSTER_UNAVAILABLE',
      hints: [repair],
    })
  }
  return new CageError(`cannot ${purpose}: unexpected answer HTTP ${status}`, {code: 'CLUSTER_UNAVAILABLE'})
}

export function interrupted(purpose: Purpose): CageError {
  return new CageError(`interrupted: ${purpose}`, {code: 'INTERRUPTED', exitCode: ExitCode.interrupted})
}

export function deadlinePassed(what: string, deadlineMs: number, hints: readonly string[] = []): CageError {
  return new CageError(`not within ${Math.round(deadlineMs / 1000)} s: ${what}`, {
    code: 'CLUSTER_DEADLINE',
    exitCode: ExitCode.deadline,
    hints,
  })
}

/** `code` of the innermost cause: Node and undici wrap it. */
export function causeCode(error: unknown): string | undefined {
  let code: string | undefined
  for (let at = error, depth = 0; typeof at === 'object' && at !== null && depth < 5; depth++) {
    const {code: found, cause, errors} = at as {code?: unknown; cause?: unknown; errors?: unknown[]}
    if (typeof found === 'string') code = found
    // Several addresses were tried: the first tells enough.
    at = cause ?? errors?.[0]
  }
  return code
}

/** The error for a request that got no answer. */
export function connectionError(purpose: Purpose, server: string, cause: unknown): CageError {
  if (cause instanceof CageError) return cause
  const code = causeCode(cause) ?? ''
  if (/CERT|SSL|TLS|SELF_SIGNED|ISSUER/.test(code)) {
    return new CageError(
      `the API server at ${server} does not show the certificate of this cluster (${code})`,
      {
        code: 'CLUSTER_CERTIFICATE',
        exitCode: ExitCode.precondition,
        hints: [repair],
        cause,
      },
    )
  }
  const why = code === '' ? messageOf(cause) : code
  return new CageError(`cannot ${purpose}: the API server at ${server} does not answer (${visible(why)})`, {
    code: 'CLUSTER_UNREACHABLE',
    exitCode: ExitCode.precondition,
    hints: [repair],
    cause,
  })
}

/** cage's own failure inside exec: exit code 255, as with ssh. */
export function execError(
  code: 'EXEC_NOT_STARTED' | 'EXEC_LOST',
  message: string,
  cause?: unknown,
): CageError {
  return new CageError(message, {code, exitCode: ExitCode.transport, cause})
}
