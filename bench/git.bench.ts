/**
 * `npm run bench git`: real git pushing, cloning and fetching, directly and through sidecar and dispatcher, against the same
 * server, in turn and in one run. The server waits before every answer; figures without that are printed beside.
 * Runs in a network namespace of its own, because the sidecar has fixed ports. Twenty pushes at once are of twenty tasks and
 * go to the dispatcher without a sidecar each. GitHub's API is asked without a delay: what is added is in milliseconds.
 */
import {spawnSync} from 'node:child_process'
import {apiLatency} from './git/api.js'
import {GitBench} from './git/world.js'
import {report} from './measure.js'

const DELAY_MS = 80
const SMALL_ROUNDS = 15
const LARGE_ROUNDS = 3
const MIB = 1024 * 1024

if (process.env['CAGE_BENCH_NAMESPACE'] === undefined) {
  const inside = [
    'unshare',
    '--net',
    'sh',
    '-c',
    'ip link set lo up && ip addr add 10.99.0.1/32 dev lo && exec "$@"',
    'sh',
    process.execPath,
  ]
  const {status} = spawnSync(inside[0] ?? '', [...inside.slice(1), process.argv[1] ?? ''], {
    env: {...process.env, CAGE_BENCH_NAMESPACE: '1'},
    stdio: 'inherit',
  })
  process.exit(status ?? 1)
}

const bench = await GitBench.open()
try {
  await bench.clones()
  const values: Record<string, number> = {}
  values['small_push_vs_direct_0ms'] = await bench.pushes(SMALL_ROUNDS + 1, 200)
  values['concurrent_push_vs_direct_0ms'] = await bench.together()
  bench.forge.fail({delay: DELAY_MS})
  const small = await bench.pushes(SMALL_ROUNDS + 1, 200)
  const concurrent = await bench.together()
  const {clone, fetch} = await bench.reads()
  const large = await bench.pushes(LARGE_ROUNDS + 1, 50 * MIB)
  bench.commit('caged', 200 * MIB)
  await bench.caged('caged', 'push', '-q', 'origin', 'fix')
  values['rss_mb'] = bench.rss()
  await bench.stopSidecar()
  const {read, write} = await apiLatency()
  values['api_read_added_ms_p50'] = read
  values['api_write_added_ms_p50'] = write
  values['api_added_ms_p50'] = Math.max(read, write)
  report({
    bench: 'git',
    ratios: {
      small_push_vs_direct: small,
      large_push_vs_direct: large,
      concurrent_push_vs_direct: concurrent,
      clone_vs_direct: clone,
      fetch_vs_direct: fetch,
    },
    targets: {
      small_push_vs_direct: 1.5,
      large_push_vs_direct: 1.2,
      concurrent_push_vs_direct: 1.5,
      clone_vs_direct: 1.1,
      fetch_vs_direct: 1.1,
      rss_mb: 120,
      api_added_ms_p50: 5,
    },
    values,
  })
} finally {
  await bench.close()
}
