import {spawn, type ChildProcessWithoutNullStreams} from 'node:child_process'
import {resolve} from 'node:path'

export interface Outcome {
  code: number
  stdout: string
  stderr: string
}

/** The project that setup.mjs brought up for this tier. */
export const repository = process.env['CAGE_TEST_REPOSITORY'] ?? ''
export const scratch = process.env['CAGE_TEST_SCRATCH'] ?? ''

/** Runs a program to its end; `input` goes to standard input. */
export function run(
  program: string,
  args: readonly string[],
  options: {cwd?: string; input?: string | Buffer; env?: NodeJS.ProcessEnv; timeoutMs?: number} = {},
): Promise<Outcome> {
  return new Promise((done, failed) => {
    const child = spawn(program, args, {
      cwd: options.cwd,
      env: options.env ?? process.env,
      timeout: options.timeoutMs ?? 170_000,
    })
    const out: Buffer[] = []
    const err: Buffer[] = []
    child.stdout.on('data', (chunk: Buffer) => out.push(chunk))
    child.stderr.on('data', (chunk: Buffer) => err.push(chunk))
    child.on('error', failed)
    child.on('close', (code) =>
      done({code: code ?? -1, stdout: Buffer.concat(out).toString(), stderr: Buffer.concat(err).toString()}),
    )
    child.stdin.on('error', () => undefined)
    child.stdin.end(options.input)
  })
}

/** The built CLI as a person would call it, in the tier's project. */
export function cage(args: readonly string[], options: Parameters<typeof run>[2] = {}): Promise<Outcome> {
  return run(process.execPath, [resolve('bin/cage'), ...args], {cwd: repository, ...options})
}

/** Runs and demands exit code 0; the error shows what was said. */
export async function cageOk(
  args: readonly string[],
  options: Parameters<typeof run>[2] = {},
): Promise<string> {
  const {code, stdout, stderr} = await cage(args, options)
  if (code !== 0) throw new Error(`cage ${args.join(' ')} exited with ${code}\n${stdout}\n${stderr}`)
  return stdout
}

export async function cageJson<T>(args: readonly string[]): Promise<T> {
  return JSON.parse(await cageOk([...args, '--json'])) as T
}

/** A shell script as the agent's user in the agent container of a task. */
export function inTask(
  task: string,
  script: string,
  options: Parameters<typeof run>[2] = {},
): Promise<Outcome> {
  return cage(['task', 'exec', task, '--', 'bash', '-c', script], options)
}

/** The CLI running beside the test, its streams open. */
export function startCage(args: readonly string[]): ChildProcessWithoutNullStreams {
  return spawn(process.execPath, [resolve('bin/cage'), ...args], {cwd: repository})
}

/** A shell script as root on the machine: outside all pods. */
export function onMachine(script: string): Promise<Outcome> {
  return cage(['machine', 'ssh', '--', 'bash', '-c', script])
}

/** SIGKILL to the first process of a running container. */
export async function killContainer(pod: {namespace: string; pod: string}, container: string): Promise<void> {
  const filter = [
    `labels."io.kubernetes.pod.namespace"==${pod.namespace}`,
    `labels."io.kubernetes.pod.name"==${pod.pod}`,
    `labels."io.kubernetes.container.name"==${container}`,
  ].join(',')
  const {code, stdout, stderr} = await onMachine(`
    for id in $(ctr -n k8s.io containers ls -q '${filter}'); do
      pid=$(ctr -n k8s.io tasks ls | awk -v id="$id" '$1 == id && $3 == "RUNNING" {print $2}')
      [ -n "$pid" ] && kill -9 "$pid" && exit 0
    done
    exit 1`)
  if (code !== 0) throw new Error(`no running container ${container} in ${pod.pod}: ${stdout} ${stderr}`)
}

export async function git(...args: string[]): Promise<string> {
  const {code, stdout, stderr} = await run('git', args, {
    cwd: repository,
    env: {...process.env, PATH: `${resolve('bin')}:${process.env['PATH'] ?? ''}`},
  })
  if (code !== 0) throw new Error(`git ${args.join(' ')} exited with ${code}\n${stderr}`)
  return stdout.trim()
}

/** Polls until the probe answers something other than undefined; throws with its name otherwise. */
export async function eventually<T>(
  name: string,
  probe: () => Promise<T | undefined>,
  seconds = 60,
): Promise<T> {
  const end = Date.now() + seconds * 1000
  for (;;) {
    const found = await probe().catch(() => undefined)
    if (found !== undefined) return found
    if (Date.now() > end) throw new Error(`not within ${seconds} s: ${name}`)
    await new Promise((next) => setTimeout(next, 500))
  }
}
