import {isMainThread} from 'node:worker_threads'
import {systemClock} from '../../core/clock.js'
import {processRunner} from '../../core/process.js'
import type {Command, Runner} from '../../core/runner.js'
import {runGit} from '../../dispatcher/git/run.js'
import {runScanWorker} from '../../dispatcher/scan/worker.js'

/**
 * The `git` process that dies by SIGKILL at a chosen place: CAGE_TEST_FAULT=`before PROGRAM` or `after PROGRAM`, the
 * git program being the one that is about to run or has just ended. Arguments as in dispatcher/main.ts.
 */
/** CAGE_TEST_PLANTED=PATH: this program runs in place of `git rev-list`, once, as whoever git's children are. */
const planted = process.env['CAGE_TEST_PLANTED']

const [place, program] = (process.env['CAGE_TEST_FAULT'] ?? '').split(' ')

function die(now: 'before' | 'after', {argv}: Pick<Command, 'argv'>): void {
  if (now === place && argv[1] === program) process.kill(process.pid, 'SIGKILL')
}

const faulty: Runner = {
  run: async (command) => {
    die('before', command)
    const result = await processRunner.run(command)
    die('after', command)
    return result
  },
  start: (command) => {
    die('before', command)
    if (planted !== undefined && command.argv[1] === 'rev-list')
      return processRunner.start({...command, argv: [planted]})
    const running = processRunner.start(command)
    void running.exit.then(() => die('after', command))
    return running
  },
}

const option = (name: string) => process.argv[process.argv.indexOf(name) + 1] ?? ''

if (isMainThread) {
  await runGit({
    volume: option('--volume'),
    run: option('--run'),
    runner: faulty,
    clock: systemClock,
    scanModule: new URL(import.meta.url),
    log: (text) => process.stderr.write(`${text}\n`),
  })
} else runScanWorker()
