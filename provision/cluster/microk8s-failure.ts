import {CageError, ExitCode} from '../../core/errors.js'

interface Known {
  said: RegExp
  code: string
  exitCode: ExitCode
  hints: readonly string[]
}

const again = 'Run `cage up` again: it goes on where it stopped.'
const without =
  'Or use `cluster.kind: kubeadm` in your own config.yaml, which needs no store; then `cage destroy`, `cage up`.'

/** What snapd and microk8s say, in the order in which it is looked for. */
const known: readonly Known[] = [
  {
    said: /snapd is not installed/,
    code: 'SNAPD_MISSING',
    exitCode: ExitCode.precondition,
    hints: ['Run `cage down`, then `cage up`: it installs snapd in the machine.', without],
  },
  {
    said: /not yet seeded|snapd was not ready|cannot communicate with server/,
    code: 'SNAPD_NOT_READY',
    exitCode: ExitCode.deadline,
    hints: ['Run `cage machine ssh -- systemctl status snapd snapd.seeded` to see what it waits for.', again],
  },
  {
    said: /unable to contact snap store|cannot (?:query|refresh from) the store|store server|persistent network error|api\.snapcraft\.io|dial tcp|i\/o timeout|no such host/i,
    code: 'SNAP_STORE_UNREACHABLE',
    exitCode: ExitCode.precondition,
    hints: [
      'Let the machine reach https://api.snapcraft.io and its downloads, then run `cage up` again.',
      without,
    ],
  },
  {
    said: /requires snaps under \/snap/,
    code: 'SNAP_CLASSIC_REFUSED',
    exitCode: ExitCode.precondition,
    hints: ['Run `cage machine ssh -- ln -s /var/lib/snapd/snap /snap`, then `cage up`.', without],
  },
  {
    said: /classic confinement/,
    code: 'SNAP_CLASSIC_REFUSED',
    exitCode: ExitCode.precondition,
    hints: ['Use an image of Debian or Ubuntu for the machine.', without],
  },
  {
    said: /not available on|no snap revision|channel .* not/i,
    code: 'SNAP_CHANNEL',
    exitCode: ExitCode.precondition,
    hints: ['Use a newer cage, which names another channel.', without],
  },
  {
    said: /change in progress|has .*in progress/i,
    code: 'SNAP_BUSY',
    exitCode: ExitCode.failed,
    hints: [
      'Wait until `cage machine ssh -- snap changes` shows nothing in progress, then run `cage up` again.',
    ],
  },
  {
    said: /no space left/i,
    code: 'MACHINE_DISK_FULL',
    exitCode: ExitCode.failed,
    hints: ['Give the machine a larger disk (`machine.disk`): `cage destroy`, `cage up`.'],
  },
  {
    said: /could not be held/,
    code: 'SNAP_NOT_HELD',
    exitCode: ExitCode.failed,
    hints: ['Run `cage machine ssh -- snap refresh --hold microk8s` to see why.', again],
  },
  {
    said: /the addon .* could not be switched off/,
    code: 'MICROK8S_ADDON',
    exitCode: ExitCode.failed,
    hints: ['Run `cage machine ssh -- /snap/bin/microk8s status` to see which addons are on.', again],
  },
  {
    said: /ImagePullBackOff|ErrImagePull/,
    code: 'MICROK8S_IMAGES',
    exitCode: ExitCode.precondition,
    hints: [
      'The network engine comes from docker.io and registry.k8s.io: let the machine reach them.',
      without,
    ],
  },
  {
    said: /not ready after|did not answer after|did not start|did not set up/,
    code: 'MICROK8S_NOT_READY',
    exitCode: ExitCode.deadline,
    hints: ['Run `cage machine ssh -- /snap/bin/microk8s inspect`.', again],
  },
]

/** A step of microk8s.sh that failed, with what was said and what to do about it. */
export function microk8sFailure(step: string, said: string): CageError {
  const lines = said.split('\n').filter((line) => line.trim() !== '')
  const found = known.find((one) => one.said.test(said))
  return new CageError([`${step}: failed`, ...lines.slice(-10)].join('\n'), {
    code: found?.code ?? 'MICROK8S_FAILED',
    exitCode: found?.exitCode ?? ExitCode.failed,
    hints: found?.hints ?? ['Run `cage machine ssh -- /snap/bin/microk8s inspect`.', again],
  })
}
