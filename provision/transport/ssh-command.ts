import {randomBytes} from 'node:crypto'
import {Transform, type TransformCallback} from 'node:stream'

const environment = [
  'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  'HOME=/root',
  'LANG=C.UTF-8',
]

/**
 * A program and its arguments as the one line that sshd hands to the user's login shell, whichever that is.
 * `mark` stands alone on the first line of stdout and stderr, behind whatever that shell's own start files print; on
 * stderr the process and its start time follow, so that the command can be ended over another channel.
 */
export function commandLine(argv: readonly string[], options: {mark: string; sudo: boolean}): string {
  return line(
    `${preamble(options.mark)}\nexec env -i ${environment.join(' ')} timeout --kill-after=5 0 ${words(argv)}`,
    options,
  )
}

/** The same for a person's terminal: nothing is marked, Ctrl-C is the program's. */
export function interactiveLine(argv: readonly string[], options: {sudo: boolean}): string {
  return line(`exec env -i ${environment.join(' ')} TERM=xterm-256color ${words(argv)}`, options)
}

/** Ends a command that `commandLine` began, and what it started; a process that only has its number is left alone. */
export const endCommand = (process: string): readonly [string, ...string[]] => [
  'sh',
  '-c',
  'set -f; stat=$(cat "/proc/$1/stat") && started=$2 && set -- "$1" ${stat##*) } && [ "${21}" = "$started" ] && kill -TERM "$1"',
  'sh',
  ...process.split(' '),
]

/** One command of the person's own user, whose shell and home it keeps. */
export function foreignLine(argv: readonly string[]): string {
  return line(`exec ${words(argv)}`, {sudo: false})
}

export function newMark(): string {
  return `cage-${randomBytes(12).toString('hex')}`
}

// base64 has no character that any login shell treats as its own.
function line(script: string, {sudo}: {sudo: boolean}): string {
  const encoded = Buffer.from(script).toString('base64')
  return `${sudo ? 'sudo -n ' : ''}/bin/sh -c 'eval "$(echo ${encoded} | base64 -d)"'`
}

/** Also ends the command when the connection is gone: sshd does not. */
function preamble(mark: string): string {
  return `set -f
began() { stat=$(cat /proc/$$/stat) && set -- \${stat##*) } && echo "\${20}"; }
start=$(began)
up=$$
while [ "$up" -gt 1 ]; do
  read -r name <"/proc/$up/comm"
  case $name in sshd*) break ;; esac
  while read -r key value; do case $key in PPid:) break ;; esac; done <"/proc/$up/status"
  up=$value
done
(while [ -d "/proc/$up" ] && [ -d "/proc/$$" ]; do sleep 1; done
[ -d "/proc/$up" ] || [ "$(began)" != "$start" ] || kill -TERM $$) </dev/null >/dev/null 2>&1 &
echo ${mark}
echo "${mark} $$ $start" >&2`
}

/** Words of a POSIX shell, each taken literally. */
function words(argv: readonly string[]): string {
  return argv.map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(' ')
}

/**
 * Lets through what follows the line that begins with the mark; the rest of that line goes to `found`.
 * What stood before it is kept in `before`, its last 4 KiB: when no mark came, it says why.
 */
export class AfterMark extends Transform {
  before = ''
  private held: Buffer | undefined = Buffer.alloc(0)
  private readonly mark: string
  private readonly found: (rest: string) => void

  constructor(mark: string, found: (rest: string) => void) {
    super()
    this.mark = mark
    this.found = found
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    if (this.held === undefined) {
      done(null, chunk)
      return
    }
    this.held = Buffer.concat([this.held, chunk])
    const at = this.held.indexOf(this.mark)
    const end = at < 0 ? -1 : this.held.indexOf('\n', at)
    if (end < 0) {
      if (at < 0) this.held = this.held.subarray(-4096)
      this.before = this.held.toString()
      done()
      return
    }
    const rest = this.held.subarray(end + 1)
    const told = this.held
      .subarray(at + this.mark.length, end)
      .toString()
      .trim()
    this.held = undefined
    this.before = ''
    this.found(told)
    done(null, rest.length > 0 ? rest : undefined)
  }
}
