import {spawn, spawnSync, type ChildProcessWithoutNullStreams} from 'node:child_process'

/** Whether `script` of util-linux is there, which gives a program a terminal. */
export const hasPseudoTerminals = spawnSync('script', ['--version']).status === 0

/** A program in a pseudo-terminal of 30 lines and 100 columns. */
export class PseudoTerminal {
  output = ''
  readonly exit: Promise<number>
  private readonly child: ChildProcessWithoutNullStreams
  private readonly watchers = new Set<() => void>()

  /** `command` is shell text */
  constructor(command: string, options: {cwd?: string; env?: NodeJS.ProcessEnv} = {}) {
    const text = `tty; stty rows 30 cols 100; ${command}`
    this.child = spawn('script', ['--quiet', '--flush', '--return', '--command', text, '/dev/null'], {
      ...options,
      env: {...(options.env ?? process.env), TERM: 'xterm-256color'},
    })
    this.child.stdout.on('data', (chunk: Buffer) => {
      this.output += chunk.toString()
      for (const watcher of this.watchers) watcher()
    })
    this.exit = new Promise((resolve) => this.child.on('close', (code) => resolve(code ?? -1)))
  }

  type(text: string): void {
    this.child.stdin.write(text)
  }

  /** as a window manager would */
  async resize(rows: number, columns: number): Promise<void> {
    const [, device] = await this.until(/^(\/dev\/pts\/\d+)/m)
    spawnSync('stty', ['-F', device ?? '', 'rows', String(rows), 'cols', String(columns)])
  }

  async until(pattern: RegExp, seconds = 30): Promise<RegExpExecArray> {
    const end = Date.now() + seconds * 1000
    for (;;) {
      const match = pattern.exec(this.output)
      if (match) return match
      const rest = end - Date.now()
      if (rest <= 0)
        throw new Error(`never saw ${String(pattern)} in ${JSON.stringify(this.output.slice(-2000))}`)
      await new Promise<void>((resolve) => {
        const done = () => {
          clearTimeout(timer)
          this.watchers.delete(done)
          resolve()
        }
        const timer = setTimeout(done, rest)
        this.watchers.add(done)
      })
    }
  }

  close(): void {
    this.child.stdin.end()
    this.child.kill()
  }
}
