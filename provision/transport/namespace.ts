import {dirname} from 'node:path'
import {runOk} from '../../core/process.js'
import type {Runner} from '../../core/runner.js'
import type {RemoteCommand, Transport} from './transport.js'

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
      const script =
        'install -d "$1" && t=$(mktemp "$2.XXXXXX") && cat >"$t" && chmod "$3" "$t" && mv "$t" "$2"'
      const argv = await inside(['sh', '-c', script, 'sh', dirname(path), path, mode])
      await runOk(runner, {argv, input: content})
    },
    async interactive(argv) {
      return [...(await enter()), 'env', '-i', ...environment, 'TERM=xterm-256color', ...argv]
    },
  }
  return transport
}
