import {execFileSync} from 'node:child_process'
import {mkdirSync, writeFileSync} from 'node:fs'
import {dirname, join} from 'node:path'
import {PassThrough} from 'node:stream'
import type {Command, CommandResult, Runner, RunningCommand} from '../../core/runner.js'
import type {RemoteCommand, Transport} from '../../provision/transport/transport.js'

/** A machine that knows only what building and importing images asks of it. */
export class FakeImageMachine {
  /** reference → whether it is unpacked */
  readonly images = new Map<string, boolean>()
  /** packages of each Debian build, in order */
  readonly builds: string[][] = []
  /** bytes of each import, by reference */
  readonly imported = new Map<string, Buffer>()
  /** exit codes of the next calls, by the program's base name; default 0 */
  readonly failing = new Map<string, {code: number; stderr: string}>()
  readonly files = new Map<string, string>()
  /** as a container runtime does: blobs of imported images are listed by their digest */
  keepsContent = false

  readonly transport: Transport = {
    run: (command) => Promise.resolve(this.#run(command)),
    start: ({argv}) => Promise.resolve(this.#start(argv)),
    writeFile: (path, content) => {
      this.files.set(path, content.toString())
      return Promise.resolve()
    },
    interactive: () => Promise.reject(new Error('nobody asks for a terminal here')),
  }

  #run({argv, onOutput}: RemoteCommand): CommandResult {
    const program = argv[0].split('/').at(-1) ?? ''
    const failure = this.failing.get(program)
    if (failure) return {code: failure.code, stdout: Buffer.alloc(0), stderr: failure.stderr}
    if (program === 'build-image.sh') {
      const [, out = '', users = '', ...packages] = argv
      this.builds.push(packages)
      onOutput?.(Buffer.from('I: extracting archives...\n'), 'stderr')
      this.files.set(out, `debian ${users} ${packages.join(' ')}`)
    }
    if (argv.includes('content'))
      return {code: 0, stdout: Buffer.from(this.#digests().join('\n')), stderr: ''}
    const lines = [...this.images].map(
      ([reference, unpacked]) => `${reference} type sha256:1 complete (2/2) 1 MiB/1 MiB ${unpacked}`,
    )
    return {
      code: 0,
      stdout: Buffer.from(['REF TYPE DIGEST STATUS SIZE UNPACKED', ...lines].join('\n')),
      stderr: '',
    }
  }

  #digests(): string[] {
    const archives = this.keepsContent ? [...this.imported.values()] : []
    const names = archives.flatMap((input) => execFileSync('tar', ['-t'], {input}).toString().split('\n'))
    return names
      .filter((name) => name.startsWith('blobs/'))
      .map((name) => name.slice('blobs/'.length).replace('/', ':'))
  }

  #start(argv: RemoteCommand['argv']): RunningCommand {
    const program = argv[0].split('/').at(-1) ?? ''
    const [stdin, stdout, stderr] = [new PassThrough(), new PassThrough(), new PassThrough()]
    const failure = this.failing.get(program)
    const exit = new Promise<number>((resolve) => {
      const chunks: Buffer[] = []
      stdin.on('data', (chunk: Buffer) => chunks.push(chunk))
      stdin.on('end', () => {
        if (program === 'cat') stdout.write(this.files.get(argv[1] ?? '') ?? '')
        if (program === 'import-image.sh' && !failure) {
          this.images.set(argv[1] ?? '', true)
          this.imported.set(argv[1] ?? '', Buffer.concat(chunks))
        }
        stdout.end()
        stderr.end(failure?.stderr)
        stderr.on('close', () => resolve(failure?.code ?? 0))
      })
    })
    return {stdin, stdout, stderr, exit, kill: () => undefined}
  }
}

/** An npm that installs one small file for each package the images take from it. */
export class FakeNpm implements Runner {
  runs = 0
  failure: string | undefined

  run({argv, cwd = ''}: Command): Promise<CommandResult> {
    this.runs += 1
    if (this.failure !== undefined)
      return Promise.resolve({code: 1, stdout: Buffer.alloc(0), stderr: this.failure})
    const cpu = argv.find((word) => word.startsWith('--cpu='))?.slice('--cpu='.length) ?? ''
    for (const path of [
      `node-linux-${cpu}/bin/node`,
      `node-linux-${cpu}/LICENSE`,
      'npm/bin/npm-cli.js',
      '@anthropic-ai/claude-code/package.json',
      '@anthropic-ai/claude-code/bin/claude.exe',
      `@anthropic-ai/claude-code-linux-${cpu}/claude`,
    ]) {
      const file = join(cwd, 'node_modules', path)
      mkdirSync(dirname(file), {recursive: true})
      writeFileSync(file, path, {mode: path.includes('bin/') || path.endsWith('claude') ? 0o755 : 0o644})
    }
    return Promise.resolve({code: 0, stdout: Buffer.alloc(0), stderr: ''})
  }

  start(): RunningCommand {
    throw new Error('npm is only run')
  }
}
