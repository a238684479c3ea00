import {join} from 'node:path'
import {parseArgs} from 'node:util'
import {isMainThread} from 'node:worker_threads'
import {systemClock} from '../core/clock.js'
import {CageError, ExitCode, messageOf} from '../core/errors.js'
import {dispatcherPath, dispatcherPort} from '../core/layout.js'
import {processRunner} from '../core/process.js'
import {gateSocket, gitSocket, operatorSocket} from './socket-api.js'

const usage = `usage: dispatcher gate [--run DIR] [--tls DIR] [--state DIR] [--port N] [--health-port N]
       dispatcher git [--run DIR] [--volume DIR]
       dispatcher control [--run DIR]                 one JSON request on stdin
       dispatcher serve upload-pack|receive-pack REPOSITORY [--protocol version=2] [--volume DIR]`

const options = {
  run: {type: 'string', default: dispatcherPath.run},
  tls: {type: 'string', default: dispatcherPath.tls},
  state: {type: 'string', default: dispatcherPath.gateState},
  volume: {type: 'string', default: dispatcherPath.volume},
  port: {type: 'string', default: String(dispatcherPort.gate)},
  'health-port': {type: 'string', default: String(dispatcherPort.health)},
  protocol: {type: 'string'},
} as const

type Values = ReturnType<typeof parse>['values']

function parse() {
  return parseArgs({allowPositionals: true, options})
}

const log = (text: string) =>
  process.stderr.write(`${JSON.stringify({ts: new Date().toISOString(), log: text})}\n`)
const controlSocket = ({run}: Values) => join(run, 'control.sock')

function environment(name: string): string {
  const value = process.env[name]
  if (value === undefined || value === '')
    throw new CageError(`${name} is not set`, {code: 'ENVIRONMENT', exitCode: ExitCode.usage})
  return value
}

async function gate(values: Values): Promise<void> {
  const {runGate} = await import('./gate/run.js')
  await runGate({
    grantKey: Buffer.from(environment('CAGE_GRANT_KEY'), 'base64'),
    project: environment('CAGE_PROJECT_ID'),
    tls: values.tls,
    gitSocket: gitSocket(values.run),
    gateSocket: gateSocket(values.run),
    controlSocket: controlSocket(values),
    stateDirectory: values.state,
    port: Number(values.port),
    healthPort: Number(values['health-port']),
    clock: systemClock,
    log,
  })
}

async function git({volume, run}: Values): Promise<void> {
  const {runGit} = await import('./git/run.js')
  const scanModule = new URL(import.meta.url)
  await runGit({volume, run, runner: processRunner, clock: systemClock, scanModule, log})
}

/** Ends although stdin may still be open, but not before everything is written. */
async function exitWith(code: number): Promise<void> {
  await new Promise<void>((resolve) => process.stdout.write('', () => resolve()))
  process.exit(code)
}

/** Every command loads what it needs: a task waits for the start of `control`, twice. */
async function main(): Promise<void> {
  const {values, positionals} = parse()
  const [command, service, repository] = positionals
  process.on('SIGTERM', () => process.exit(0))
  // What nobody waits for is a defect; the kubelet starts the container again.
  process.on('unhandledRejection', (error) => {
    log(`unhandled: ${messageOf(error)}`)
    process.exit(1)
  })
  if (command === 'gate' && positionals.length === 1) await gate(values)
  else if (command === 'git' && positionals.length === 1) await git(values)
  else if (command === 'control' && positionals.length === 1) {
    const {control} = await import('./clients.js')
    await exitWith(await control(controlSocket(values), process.stdin, process.stdout))
  } else if (
    command === 'serve' &&
    repository !== undefined &&
    (service === 'upload-pack' || service === 'receive-pack')
  ) {
    const {protocol} = values
    const {serve} = await import('./clients.js')
    const greeting = {service, repository, ...(protocol === undefined ? {} : {protocol})} as const
    await exitWith(await serve(operatorSocket(values.volume), greeting, process.stdin, process.stdout))
  } else throw new CageError(usage, {code: 'USAGE', exitCode: ExitCode.usage})
}

if (isMainThread) {
  main().catch((error: unknown) => {
    process.stderr.write(`cage dispatcher: ${messageOf(error)}\n`)
    process.exit(error instanceof CageError ? error.exitCode : 1)
  })
} else {
  const {runScanWorker} = await import('./scan/worker.js')
  runScanWorker()
}
