import {runOk} from '../../core/process.js'
import type {Runner} from '../../core/runner.js'
import type {RemoteCommand, Transport} from './transport.js'
import {writeFileArgv} from './write-file.js'

const environment = [
  'PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  'HOME=/root',
  'LANG=C.UTF-8',
  'KUBECONFIG=/etc/kubernetes/admin.conf',
]

/**
 * Runs commands in the namespaces of a process of this computer.
 * `firstProcess` finds it anew for each command, and throws MACHINE_NOT_RUNNING when there is none.
 */
export function namespaceTransport(runner: Runner, firstProcess: () => Promise<number>): Transport {
  const enter = async (): Promise<[string, ...string[]]> => {
    const namespaces = ['--mount', '--uts', '--ipc', '--net', '--pid', '--cgroup']
    return ['nsenter', '--target', String(await firstProcess()), ...namespaces, '--']
  }
  // nsenter waits outside; when it is ended, what it entered for must end too: `timeout` hands the signal to its whole group.
  const inside = async (argv: readonly string[]): Promise<[string, ...string[]]> => [
    ...(await enter()),
    ...['setpriv', '--pdeathsig', 'TERM', '--', 'env', '-i', ...environment],
    ...['timeout', '--kill-after=5', '0', ...argv],
  ]
  const transport: Transport = {
    async run({argv, ...rest}: RemoteCommand) {
      return runner.run({...rest, argv: await inside(argv)})
    },
    async start({argv, ...rest}) {
      return runner.start({...rest, argv: await inside(argv)})
    },
    async writeFile(path, content, mode) {
      await runOk(runner, {argv: await inside(writeFileArgv(path, mode)), input: content})
    },
    async interactive(argv) {
      return [...(await enter()), 'env', '-i', ...environment, 'TERM=xterm-256color', ...argv]
    },
  }
  return transport
}
