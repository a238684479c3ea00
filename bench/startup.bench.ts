/**
 * How much the CLI adds to the start of Node itself, for commands that do not talk to a cluster.
 * The minimum of 15 alternating runs: what the computer is doing besides only ever adds.
 */
import {spawn} from 'node:child_process'
import {mkdtempSync, rmSync} from 'node:fs'
import {tmpdir} from 'node:os'
import {join, resolve} from 'node:path'
import {alternate, minimum, report} from './measure.js'

const ROUNDS = 15
const MOST_OVERHEAD_MS = 120

const cli = resolve('bin/cage')
const scratch = mkdtempSync(join(tmpdir(), 'cage-startup-'))
const env = {
  ...process.env,
  NO_COLOR: '1',
  XDG_CACHE_HOME: scratch,
  XDG_CONFIG_HOME: scratch,
  XDG_STATE_HOME: scratch,
}

function start(args: readonly string[], wanted: readonly number[] = [0]): () => Promise<void> {
  return () =>
    new Promise((done, failed) => {
      const child = spawn(process.execPath, args, {cwd: scratch, env, stdio: 'ignore'})
      child.on('error', failed)
      child.on('close', (code) => {
        if (code !== null && wanted.includes(code)) done()
        else failed(new Error(`node ${args.join(' ')} exited with ${String(code)}`))
      })
    })
}

try {
  const contestants = {
    bare: start(['-e', '0']),
    version: start([cli, '--version']),
    help: start([cli, '--help']),
    taskHelp: start([cli, 'task', 'new', '--help']),
    // A real command with nothing to do: there is no project here.
    list: start([cli, 'list', '--json']),
  }
  // The first runs fill the disk cache and Node's compile cache.
  await Promise.all(Object.values(contestants).map((run) => run()))
  const times = await alternate(ROUNDS, contestants)
  const bare = minimum(times.bare)
  const names = Object.keys(times) as (keyof typeof times)[]
  const ours = names.filter((name) => name !== 'bare')
  report({
    bench: 'startup',
    ratios: Object.fromEntries(ours.map((name) => [name, minimum(times[name]) / bare])),
    targets: Object.fromEntries(ours.map((name) => [`${name}OverheadMs`, MOST_OVERHEAD_MS])),
    values: {
      bareMs: bare,
      ...Object.fromEntries(ours.map((name) => [`${name}OverheadMs`, minimum(times[name]) - bare])),
    },
  })
} finally {
  rmSync(scratch, {force: true, recursive: true})
}
