import {constants} from 'node:os'
import {CageError, ExitCode} from '../../core/errors.js'
import {shellCommand} from '../../core/quote.js'
import type {CommandResult, Runner, RunningCommand} from '../../core/runner.js'
import {openConnection, type SshConnection} from './ssh-connection.js'
import {AfterMark, commandLine, endCommand, interactiveLine, newMark} from './ssh-command.js'
import {collect} from './collect.js'
import {writeFileArgv} from './write-file.js'
import type {RemoteCommand, RemoteTransport} from './transport.js'

/** Where an SSH server is, who cage is there, and which key it must show. */
export interface SshTarget {
  address: string
  port: number
  user: string
  /** file with the private key, OpenSSH format */
  keyFile: string
  /** `TYPE BASE64`, e.g. `ssh-ed25519 AAAA…`: the one key that the server may show */
  hostKey: string
  /** file with the line `HOST_KEY_ALIAS TYPE BASE64`, for the person's `ssh` program */
  knownHosts: string
  /** the name in that file */
  hostKeyAlias: string
  /** a program whose standard input and output are the connection, e.g. `ssh -W …` through a jump host */
  over?: readonly [string, ...string[]]
}

/** sshd allows ten sessions on one connection; some are kept for ending others. */
const SESSIONS = 7

/**
 * Runs commands as root of a Linux system behind sshd: as `root`, or through `sudo -n`. One connection, made when it is
 * needed and again when it was lost. `target` is asked for each connection: an address may change, the host key does not.
 */
export function sshTransport(runner: Runner, target: () => Promise<SshTarget>): RemoteTransport {
  let connection: Promise<SshConnection> | undefined
  const connected = async (): Promise<SshConnection> => {
    const seen = connection
    const open = await seen?.catch(() => undefined)
    if (open?.alive === true) return open
    // Of several who find it lost only one makes the next.
    if (connection === seen) connection = target().then((where) => openConnection(runner, where))
    return connection ?? connected()
  }
  const places = slots(SESSIONS)

  async function start(command: Parameters<RemoteTransport['start']>[0]): Promise<Started> {
    if (command.signal?.aborted) throw interrupted(command.argv)
    const free = await places.take()
    try {
      const started = await launch(await connected(), command)
      void started.exit.catch(() => undefined).finally(free)
      return started
    } catch (cause) {
      free()
      throw cause
    }
  }

  return {
    async run(command: RemoteCommand): Promise<CommandResult> {
      const {input, maxOutput, onOutput, signal, timeoutMs, ...rest} = command
      const failed = new AbortController()
      const end = signal ? AbortSignal.any([signal, failed.signal]) : failed.signal
      const timer =
        timeoutMs === undefined
          ? undefined
          : setTimeout(() => failed.abort(late(command.argv, timeoutMs)), timeoutMs)
      try {
        const started = await start({...rest, signal: end})
        started.stdin.end(input)
        const result = await collect(started, {
          argv: command.argv,
          ...(maxOutput === undefined ? {} : {maxOutput}),
          ...(onOutput ? {onOutput} : {}),
          fail: (error) => failed.abort(error),
        })
        if (failed.signal.aborted) throw failed.signal.reason
        if (signal?.aborted) throw interrupted(command.argv)
        return result
      } catch (cause) {
        if (failed.signal.aborted) throw failed.signal.reason
        throw cause
      } finally {
        clearTimeout(timer)
      }
    },
    start,
    async writeFile(path, content, mode) {
      const {code, stderr} = await this.run({argv: writeFileArgv(path, mode), input: content})
      if (code === 0) return
      throw new CageError(`cannot write ${path} on the machine: ${stderr.trim()}`, {code: 'COMMAND_FAILED'})
    },
    async interactive(argv) {
      const {address, port, user, keyFile, knownHosts, hostKeyAlias, over} = await target()
      const options = [
        ...['IdentitiesOnly=yes', `IdentityFile=${quoted(keyFile)}`, 'IdentityAgent=none'],
        ...[
          'StrictHostKeyChecking=yes',
          `UserKnownHostsFile=${quoted(knownHosts)}`,
          'GlobalKnownHostsFile=none',
        ],
        ...[
          `HostKeyAlias=${hostKeyAlias}`,
          'BatchMode=yes',
          'LogLevel=ERROR',
          `Port=${port}`,
          `User=${user}`,
        ],
        ...(over ? [`ProxyCommand=${shellCommand(over).replaceAll('%', '%%')}`] : []),
      ]
      const line = interactiveLine(argv, {sudo: user !== 'root'})
      return ['ssh', '-F', 'none', '-t', ...options.flatMap((option) => ['-o', option]), '--', address, line]
    },
    async tunnel(to) {
      return (await connected()).tunnel(to)
    },
    async close() {
      const current = await connection?.catch(() => undefined)
      connection = undefined
      await current?.close()
    },
  }
}

type Started = RunningCommand

/** Begins a command on an open connection; resolves once it runs. Errors: MACHINE_SHELL when the server starts none. */
async function launch(
  connection: SshConnection,
  {argv, signal, timeoutMs}: Parameters<RemoteTransport['start']>[0],
): Promise<Started> {
  const mark = newMark()
  const sudo = connection.user !== 'root'
  const channel = await connection.exec(commandLine(argv, {mark, sudo}))
  let running: ((process: string) => void) | undefined
  const begun = new Promise<string>((resolve) => (running = resolve))
  const stdout = new AfterMark(mark, () => undefined)
  const stderr = new AfterMark(mark, (process) => running?.(process))
  channel.pipe(stdout)
  channel.stderr.pipe(stderr)
  // Whoever ends a command early stops reading: that is no error of its own.
  channel.on('error', () => undefined)

  const exit = new Promise<number>((resolve, reject) => {
    // It says the same as the event `exit`, which a quick command has emitted before anybody could listen.
    channel.on('close', (code?: number | null, name?: string) => {
      if (code === undefined) {
        connection.drop()
        reject(lost(argv))
      } else resolve(code ?? 128 + numberOf(name ?? ''))
    })
  })
  exit.catch(() => undefined)

  const kill = () => {
    void begun
      .then((process) => connection.exec(commandLine(endCommand(process), {mark: newMark(), sudo})))
      .then(
        (ending) => ending.resume().stderr.resume(),
        () => undefined,
      )
  }
  const timer = timeoutMs === undefined ? undefined : setTimeout(kill, timeoutMs)
  signal?.addEventListener('abort', kill, {once: true})
  if (signal?.aborted) kill()
  void exit
    .catch(() => undefined)
    .finally(() => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', kill)
    })
  await Promise.race([begun, exit.then((code) => refused(code, stderr, stdout))])
  return {stdin: channel, stdout, stderr, exit, kill}
}

/** RFC 4254 names signals without `SIG`. */
function numberOf(signal: string): number {
  const numbers: Partial<Record<string, number>> = constants.signals
  return numbers[`SIG${signal.replace(/^SIG/, '')}`] ?? 0
}

/** A command that ended before it began is an answer only of the shell around it. */
function refused(code: number, stderr: AfterMark, stdout: AfterMark): never {
  const said = [stderr.before, stdout.before].map((text) => text.trim()).find((text) => text !== '')
  throw new CageError(
    `the server does not start commands as root (exit code ${code})${said ? `: ${said}` : ''}`,
    {
      code: 'MACHINE_SHELL',
      exitCode: ExitCode.precondition,
      hints: ['Check that the user of the server is root or may use `sudo` without a password.'],
    },
  )
}

function lost(argv: readonly string[]): CageError {
  return new CageError(`the connection to the machine was lost during: ${shellCommand(argv)}`, {
    code: 'MACHINE_UNREACHABLE',
    hints: ['Run `cage up` again: it goes on where it stopped.'],
  })
}

function interrupted(argv: readonly string[]): CageError {
  return new CageError(`interrupted: ${shellCommand(argv)}`, {
    code: 'INTERRUPTED',
    exitCode: ExitCode.interrupted,
  })
}

function late(argv: readonly string[], timeoutMs: number): CageError {
  return new CageError(`not finished after ${Math.round(timeoutMs / 1000)} s: ${shellCommand(argv)}`, {
    code: 'COMMAND_DEADLINE',
    exitCode: ExitCode.deadline,
  })
}

/** A value of an ssh option: ssh_config(5) takes quotes around blanks. */
function quoted(path: string): string {
  return `"${path.replaceAll('%', '%%')}"`
}

/** At most so many at once; the others wait in order. */
function slots(count: number) {
  let free = count
  const waiting: (() => void)[] = []
  const give = () => {
    const next = waiting.shift()
    if (next) next()
    else free++
  }
  return {
    async take(): Promise<() => void> {
      if (free > 0) free--
      else await new Promise<void>((next) => waiting.push(next))
      let given = false
      return () => {
        if (given) return
        given = true
        give()
      }
    },
  }
}
