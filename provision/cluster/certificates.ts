import {X509Certificate} from 'node:crypto'
import {CageError, ExitCode} from '../../core/errors.js'

const MINUTE_MS = 60_000
const DAY_MS = 24 * 60 * MINUTE_MS
/** Certificates that end sooner are renewed: the machine may be off until then. */
const RENEW_BEFORE_MS = 30 * DAY_MS
const CLOCKS_APART_MS = 5 * MINUTE_MS

/** What `cluster.sh certificates` prints: the machine's time in seconds, then certificates in PEM. */
export function certificateTimes(text: string): {now: number; certificates: X509Certificate[]} {
  const blocks = text.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? []
  return {
    now: Number.parseInt(text, 10) * 1000,
    certificates: blocks.map((block) => new X509Certificate(block)),
  }
}

/**
 * True when the cluster's certificates must be renewed. `computer` is the time on this computer, in ms.
 * Errors: CLOCK_WRONG, CERTIFICATES_ENDED when also what signs them has ended.
 */
export function mustRenew(text: string, computer: number): boolean {
  const {now, certificates} = certificateTimes(text)
  if (Math.abs(now - computer) > CLOCKS_APART_MS) {
    throw clockWrong(
      `the clock of the machine says ${shown(now)}, the one of this computer ${shown(computer)}`,
    )
  }
  const begin = Math.max(...certificates.map(({validFrom}) => Date.parse(validFrom)))
  if (begin > now + CLOCKS_APART_MS) {
    throw clockWrong(`the clock says ${shown(now)}, but this cluster has certificates of ${shown(begin)}`)
  }
  const ends = (signing: boolean) =>
    Math.min(...certificates.filter(({ca}) => ca === signing).map(({validTo}) => Date.parse(validTo)))
  if (ends(true) < now) {
    throw new CageError(`the authority of this cluster ended on ${shown(ends(true))}`, {
      code: 'CERTIFICATES_ENDED',
      exitCode: ExitCode.precondition,
      hints: [
        'If the clock is wrong, set it and run `cage up` again.',
        'Otherwise fetch the work of its tasks (`cage machine ssh` shows their volumes at /var/lib/cage/volumes), then run `cage destroy` and `cage up`.',
      ],
    })
  }
  return ends(false) < now + RENEW_BEFORE_MS
}

function clockWrong(message: string): CageError {
  return new CageError(message, {
    code: 'CLOCK_WRONG',
    exitCode: ExitCode.precondition,
    hints: [
      'Set the clock that is wrong (on a server: sudo timedatectl set-ntp true), then run `cage up` again.',
      'A virtual machine takes the time at its start: `cage down`, then `cage up`.',
    ],
  })
}

function shown(time: number): string {
  return Number.isFinite(time) ? new Date(time).toISOString().slice(0, 16).replace('T', ' ') : 'nothing'
}
