import {text} from 'node:stream/consumers'
import {CageError, ExitCode, messageOf} from '../core/errors.js'
import {sidecarPath, trustPath} from '../core/layout.js'

/**
 * The sidecar's program: `serve` in its container, `probe` as the agent's uid, `control` and `audit` by exec. Each loads
 * what it needs: a task waits for the start of three of them.
 */
const commands: Record<string, (args: string[]) => Promise<number>> = {
  serve: serveForever,
  probe: async () => {
    const {runProbe} = await import('./probe/main.js')
    return runProbe((process.env['CAGE_PROBE_CLOSED'] ?? '').split(' '), trustPath.ca, process.stdout)
  },
  control: async () => {
    const {askControl} = await import('./control.js')
    const answer = await askControl(sidecarPath.socket, await text(process.stdin))
    process.stdout.write(`${JSON.stringify(answer)}\n`)
    return answer.ok ? ExitCode.done : ExitCode.failed
  },
  audit: printAudit,
}

async function serveForever(): Promise<number> {
  const key = process.env['CAGE_GRANT_KEY']
  if (!key) throw new CageError('CAGE_GRANT_KEY is not set', {code: 'GRANT_KEY_MISSING'})
  const [{serve}, {systemRootsPath}] = await Promise.all([
    import('./serve.js'),
    import('./certificates/publish.js'),
  ])
  // Keys, names and records are this uid's alone.
  process.umask(0o077)
  const sidecar = await serve({
    grantKey: Buffer.from(key, 'base64'),
    grantDirectory: sidecarPath.grant,
    stateDirectory: sidecarPath.state,
    ledgerDirectory: sidecarPath.ledger,
    trustDirectory: trustPath.dir,
    controlSocket: sidecarPath.socket,
    systemRoots: systemRootsPath,
  })
  process.stdout.write('cage sidecar: listening\n')
  await new Promise<void>((resolve) => process.once('SIGTERM', resolve).once('SIGINT', resolve))
  await sidecar.close()
  return ExitCode.done
}

async function printAudit(args: string[]): Promise<number> {
  const since = args.includes('--since') ? Date.parse(args[args.indexOf('--since') + 1] ?? '') : undefined
  if (Number.isNaN(since))
    throw new CageError('--since needs a moment as in 2030-01-31T12:00:00Z', {
      code: 'USAGE',
      exitCode: ExitCode.usage,
    })
  const {readLedger} = await import('./audit/read.js')
  const options = {follow: args.includes('-f'), ...(since === undefined ? {} : {since})}
  for await (const line of readLedger(sidecarPath.ledger, options)) {
    if (!process.stdout.write(`${line}\n`))
      await new Promise((resolve) => process.stdout.once('drain', resolve))
  }
  return ExitCode.done
}

const [, , name = '', ...args] = process.argv
const command = Object.hasOwn(commands, name) ? commands[name] : undefined
process.stdout.on('error', () => process.exit(ExitCode.failed))
if (!command) {
  process.stderr.write(`usage: proxy.js ${Object.keys(commands).join('|')}\n`)
  process.exit(ExitCode.usage)
}
try {
  process.exit(await command(args))
} catch (error) {
  process.stderr.write(`cage sidecar: ${messageOf(error)}\n`)
  process.exit(error instanceof CageError ? error.exitCode : ExitCode.failed)
}
