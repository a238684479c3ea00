import {spawn, spawnSync} from 'node:child_process'
import {mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync} from 'node:fs'
import {homedir, tmpdir} from 'node:os'
import {join, resolve} from 'node:path'

export interface Outcome {
  code: number
  stdout: string
  stderr: string
}

/** A project of its own with the operator's settings for one driver; only the cache of built things is the computer's. */
export class World {
  readonly scratch: string
  readonly repository: string
  readonly env: NodeJS.ProcessEnv

  /** `programs`: a folder of the scratch directory whose programs come first, by its name */
  constructor(machine: string, programs?: string) {
    this.scratch = mkdtempSync(join(process.env['CAGE_TEST_SCRATCH'] ?? tmpdir(), 'cage-vm-'))
    this.repository = join(this.scratch, 'shop')
    this.env = {
      ...process.env,
      XDG_CACHE_HOME: process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'),
      XDG_STATE_HOME: join(this.scratch, 'state'),
      XDG_CONFIG_HOME: join(this.scratch, 'config'),
      PATH: [
        ...(programs === undefined ? [] : [join(this.scratch, programs)]),
        ...[resolve('bin'), process.env['PATH'] ?? ''],
      ].join(':'),
    }
    this.settle(machine)
    mkdirSync(this.repository)
    const history = resolve('examples/shop.history')
    const script = 'git init -q -b main && git fast-import --quiet <"$1" && git reset -q --hard main'
    const made = spawnSync('bash', ['-c', script, 'bash', history], {cwd: this.repository})
    if (made.status !== 0) throw new Error(made.stderr.toString())
  }

  /** The operator's settings say another machine from now on. */
  settle(machine: string): void {
    mkdirSync(join(this.scratch, 'config', 'cage'), {recursive: true})
    const settings = `version: 1\ndefaults: { machine: ${machine} }\n`
    writeFileSync(join(this.scratch, 'config', 'cage', 'config.yaml'), settings)
  }

  run(program: string, args: readonly string[]): Promise<Outcome> {
    return new Promise((done, failed) => {
      const child = spawn(program, args, {
        cwd: this.repository,
        env: this.env,
        stdio: ['ignore', 'pipe', 'pipe'],
      })
      const said = {stdout: '', stderr: ''}
      for (const stream of ['stdout', 'stderr'] as const)
        child[stream].on('data', (chunk: Buffer) => (said[stream] += chunk.toString()))
      child.on('error', failed)
      child.on('close', (code) => done({code: code ?? -1, ...said}))
    })
  }

  cage(...args: string[]): Promise<Outcome> {
    return this.run(process.execPath, [resolve('bin/cage'), ...args])
  }

  async ok(...args: string[]): Promise<string> {
    const {code, stdout, stderr} = await this.cage(...args)
    if (code !== 0) throw new Error(`cage ${args.join(' ')} exited with ${code}\n${stdout}\n${stderr}`)
    return stdout
  }

  async json<T>(...args: string[]): Promise<T> {
    return JSON.parse(await this.ok(...args, '--json')) as T
  }

  state(...path: string[]): string {
    return join(this.scratch, 'state', 'cage', ...path)
  }

  remove(): void {
    rmSync(this.scratch, {recursive: true, force: true})
  }
}

/** The first reason of several why something cannot be tried here. */
export function obstacleOf(checks: readonly (readonly [boolean, string])[]): string | undefined {
  return checks.find(([fits]) => !fits)?.[1]
}

export function installed(program: string, ...args: string[]): boolean {
  return spawnSync(program, args.length > 0 ? args : ['--version']).status === 0
}

/** A box of Debian packages, made once. Not in a home: libvirt's own user reads the kernel beside it. */
export function box(): string {
  const cache = '/var/cache/cage-test'
  const file = join(cache, 'debian.box')
  const script = resolve('test/vm/make-box.sh')
  mkdirSync(cache, {recursive: true})
  const made = statSync(file, {throwIfNoEntry: false})
  if (made === undefined || made.mtimeMs < statSync(script).mtimeMs) {
    const {status, stderr} = spawnSync(script, [file])
    if (status !== 0) throw new Error(`no box: ${stderr.toString().slice(-2000)}`)
  }
  return file
}
