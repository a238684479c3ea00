import {dirname} from 'node:path'
import {runOk} from '../../core/process.js'
import type {Runner} from '../../core/runner.js'
import type {Transport} from './transport.js'

const environment = [
  'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  'HOME=/root',
  'LANG=C.UTF-8',
]

/**
 * Runs commands as root on this computer itself, each in mount and process namespaces of its own: what it mounts nobody
 * else sees, and what it starts ends with it. For building images where there is no machine.
 */
export function computerTransport(runner: Runner): Transport {
  const inside = (argv: readonly string[]): [string, ...string[]] => [
    ...(['unshare', '--mount', '--propagation', 'private', '--pid', '--fork', '--kill-child'] as const),
    // `timeout` is the first process, so that the command is one that signals end as usual.
    ...['--mount-proc', '--', 'timeout', '--kill-after=5', '0', 'env', '-i', ...environment, ...argv],
  ]
  return {
    run: ({argv, ...rest}) => runner.run({...rest, argv: inside(argv)}),
    start: ({argv, ...rest}) => Promise.resolve(runner.start({...rest, argv: inside(argv)})),
    async writeFile(path, content, mode) {
      const script =
        'install -d "$1" && t=$(mktemp "$2.XXXXXX") && cat >"$t" && chmod "$3" "$t" && mv "$t" "$2"'
      const argv = inside(['sh', '-c', script, 'sh', dirname(path), path, mode])
      await runOk(runner, {argv, input: content})
    },
    interactive: (argv) => Promise.resolve(inside(argv)),
  }
}
