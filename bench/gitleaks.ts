import {spawn} from 'node:child_process'
import {existsSync, mkdirSync, readFileSync, writeFileSync} from 'node:fs'
import {join} from 'node:path'

export const gitleaksVersion = 'v8.30.0'
const MODULE = 'github.com/zricethezav/gitleaks/v8'

export interface GitleaksRule {
  id: string
  regex: string
}

export interface GitleaksRun {
  findings: {RuleID: string; StartLine: number; Match: string}[]
  /** milliseconds of processor time, start included */
  cpuMs: number
}

/** The program, built from its Go module into a folder that is kept. Throws when there is no Go. */
export async function buildGitleaks(folder: string): Promise<{program: string; rules: GitleaksRule[]}> {
  mkdirSync(folder, {recursive: true})
  const program = join(folder, 'gitleaks')
  const go = (...args: string[]) => run('go', args, {cwd: folder, env: {...process.env, GOFLAGS: '-mod=mod'}})
  if (!existsSync(join(folder, 'go.mod'))) await go('mod', 'init', 'bench')
  if (!existsSync(program)) {
    process.stderr.write(`building gitleaks ${gitleaksVersion}\n`)
    await go('get', '-tool', `${MODULE}@${gitleaksVersion}`)
    await go('build', '-o', program, MODULE)
  }
  const source = (await go('list', '-m', '-f', '{{.Dir}}', MODULE)).stdout.trim()
  return {program, rules: readRules(readFileSync(join(source, 'config', 'gitleaks.toml'), 'utf8'))}
}

/** Scans a text as one input. */
export async function scanWithGitleaks(program: string, folder: string, text: Buffer): Promise<GitleaksRun> {
  const report = join(folder, 'report.json')
  const input = join(folder, 'input')
  writeFileSync(input, text)
  const script = `TIMEFORMAT='%U %S'; time "$0" stdin --no-banner --log-level error --exit-code 0 --report-format json --report-path "$1" < "$2"`
  const {stderr} = await run('bash', ['-c', script, program, report, input], {cwd: folder, env: process.env})
  const [user = NaN, system = NaN] = (stderr.trim().split('\n').at(-1) ?? '').split(' ').map(Number)
  const findings = JSON.parse(readFileSync(report, 'utf8')) as GitleaksRun['findings']
  return {findings, cpuMs: (user + system) * 1000}
}

/** Ids and patterns of its rule table, which is TOML with the pattern in three quotes. */
function readRules(text: string): GitleaksRule[] {
  return text
    .split('[[rules]]')
    .slice(1)
    .flatMap((block) => {
      const id = /^id = "([^"]+)"/m.exec(block)?.[1]
      const regex = /^regex = '''([\s\S]*?)'''/m.exec(block)?.[1]
      return id === undefined || regex === undefined ? [] : [{id, regex}]
    })
}

function run(
  program: string,
  args: readonly string[],
  options: {cwd: string; env: NodeJS.ProcessEnv},
): Promise<{stdout: string; stderr: string}> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {...options, stdio: ['ignore', 'pipe', 'pipe']})
    let stdout = ''
    let stderr = ''
    child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()))
    child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()))
    child.on('error', reject)
    child.on('close', (code) => {
      if (code === 0) resolve({stdout, stderr})
      else
        reject(
          new Error(
            `${program} ${args.slice(0, 2).join(' ')} exited with ${String(code)}: ${stderr.slice(-500)}`,
          ),
        )
    })
  })
}
