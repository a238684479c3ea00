import {spawnSync} from 'node:child_process'
import {mkdtempSync, mkdirSync, writeFileSync} from 'node:fs'
import {homedir, tmpdir} from 'node:os'
import {join, resolve} from 'node:path'

/** A scratch home for state and configuration; only the cache of built things is the computer's own. */
export default async function setup() {
  const scratch = process.env.CAGE_TEST_SCRATCH ?? mkdtempSync(join(tmpdir(), 'cage-cluster-'))
  const repository = join(scratch, 'shop')
  process.env.CAGE_TEST_SCRATCH = scratch
  process.env.CAGE_TEST_REPOSITORY = repository
  process.env.XDG_CACHE_HOME ??= join(homedir(), '.cache')
  process.env.XDG_STATE_HOME = join(scratch, 'state')
  process.env.XDG_CONFIG_HOME = join(scratch, 'config')
  mkdirSync(join(scratch, 'config', 'cage'), {recursive: true})
  writeFileSync(
    join(scratch, 'config', 'cage', 'config.yaml'),
    'version: 1\ndefaults: { machine: { driver: local } }\n',
    {flag: 'w'},
  )
  const git = (...args) => run('git', ['-C', repository, ...args])
  if (spawnSync('git', ['-C', repository, 'rev-parse', 'HEAD']).status !== 0) {
    mkdirSync(repository, {recursive: true})
    git('init', '-q', '-b', 'main')
    const history = resolve('examples/shop.history')
    run('bash', ['-c', `git -C "$1" fast-import --quiet < "$2"`, 'bash', repository, history])
    git('reset', '-q', '--hard', 'main')
    git('config', 'user.name', 'A Person')
    git('config', 'user.email', 'person@shop.invalid')
  }
  run(process.execPath, [resolve('bin/cage'), 'up', '-C', repository], {stdio: 'inherit'})
}

function run(program, args, options = {}) {
  const result = spawnSync(program, args, {encoding: 'utf8', ...options})
  if (result.status !== 0)
    throw new Error(`${program} ${args.join(' ')} → ${result.status}\n${result.stderr ?? ''}`)
}
