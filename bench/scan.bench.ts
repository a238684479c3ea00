/**
 * The scanner beside gitleaks, on one computer and in one run: what each finds of generated secrets, what the scanner
 * takes for a secret in real code, and the processor time of both. Needs Go; the module is built once (20 s).
 */
import {resolve} from 'node:path'
import {ruleTable} from '../scan/rules/table.js'
import {createScanner, type Finding} from '../scan/scanner.js'
import {seededRandom} from '../test/support/secret-sample.js'
import {buildGitleaks, scanWithGitleaks, type GitleaksRule} from './gitleaks.js'
import {hostileBodies} from './hostile-bodies.js'
import {report} from './measure.js'
import {samplePattern} from './sample-pattern.js'
import {cpuMsPerMb, gitleaksMsPerMb, sourceFiles} from './scan-cost.js'

const SAMPLES = 20
const MODEL_BYTES = 8_000_000
const HOSTILE_BYTES = 1_000_000
const MB = 1_000_000

/** First words of gitleaks' rule ids, by the first word of ours where they differ. */
const sameVendor: Readonly<Record<string, string>> = {
  facebook: 'meta',
  flyio: 'fly',
  gcp: 'google',
  hashicorp: 'terraform',
  huggingface: 'hugging',
  jfrog: 'artifactory',
  microsoft: 'teams',
  sendinblue: 'brevo',
}
/** Rules that are about no vendor's token, or match far more than one. */
const noTokens: ReadonlySet<string> = new Set([
  // The beginning of one.
  'aws-amazon-bedrock-api-key-short-lived',
  'generic-api-key',
  // Any password.
  'hashicorp-tf-password',
  // Texts that begin with `ey`, which no JSON does.
  'jwt',
  'jwt-base64',
  // Any 64 characters.
  'private-key',
])
const vendorOf = (id: string) => id.split('-')[0] ?? ''

const folder = resolve('dist/bench/gitleaks')
const scanner = createScanner()
const {program, rules} = await buildGitleaks(folder)

const recall = await measureRecall(rules)
const code = sourceFiles()
const falsePositives = code.files.flatMap(({path, bytes}) =>
  scanner
    .scan(bytes)
    .findings.filter(({kind}) => kind === 'format')
    .map(({rule}) => ({path, rule})),
)
for (const {path, rule} of falsePositives) process.stderr.write(`false positive: ${rule} in ${path}\n`)

const model = modelTraffic(code.files.map(({bytes}) => bytes))
const oursCode = cpuMsPerMb(
  scanner,
  code.files.map(({bytes}) => bytes),
)
const oursModel = cpuMsPerMb(scanner, model)
const theirsCode = await gitleaksMsPerMb(
  program,
  folder,
  code.files.map(({bytes}) => bytes),
)

let worst = 0
for (const [name, body] of hostileBodies(ruleTable, HOSTILE_BYTES)) {
  const started = process.cpuUsage()
  const {overBudget} = scanner.scan(body)
  const {user, system} = process.cpuUsage(started)
  const ms = (user + system) / 1000 / (body.length / MB)
  process.stderr.write(`hostile ${name}: ${ms.toFixed(0)} ms/MB${overBudget ? ', refused by budget' : ''}\n`)
  if (!overBudget) worst = Math.max(worst, ms)
}

report({
  bench: 'scan',
  ratios: {scan_vs_gitleaks: oursCode / theirsCode, missed_of_gitleaks: 1 - recall.found / recall.planted},
  targets: {
    scan_vs_gitleaks: 1,
    missed_of_gitleaks: 0.02,
    false_positives_per_4_mb: 1,
    model_ms_per_mb: 20,
    hostile_ms_per_mb: 150,
  },
  values: {
    planted: recall.planted,
    found: recall.found,
    rules_compared: recall.rules,
    false_positives_per_4_mb: falsePositives.length / (code.bytes / (4 * MB)),
    code_mb: code.bytes / MB,
    code_ms_per_mb: oursCode,
    gitleaks_ms_per_mb: theirsCode,
    model_ms_per_mb: oursModel,
    hostile_ms_per_mb: worst,
  },
})

/** Texts that their patterns match and their program finds, of vendors that our table knows as well. */
async function measureRecall(
  table: readonly GitleaksRule[],
): Promise<{planted: number; found: number; rules: number}> {
  const ours = new Set(ruleTable.map(({id}) => vendorOf(id)))
  const known = table.filter(
    ({id}) => !noTokens.has(id) && ours.has(sameVendor[vendorOf(id)] ?? vendorOf(id)),
  )
  const random = seededRandom(20)
  const lines = known.flatMap((rule) =>
    Array.from({length: SAMPLES}, () => ({
      rule: rule.id,
      text: `value = "${samplePattern(rule.regex, random).replaceAll('\n', ' ')}"\n`,
    })),
  )
  const {findings} = await scanWithGitleaks(
    program,
    folder,
    Buffer.from(lines.map(({text}) => text).join('')),
  )
  const seen = new Set(findings.map(({StartLine}) => StartLine))
  const planted = lines.filter((_, index) => seen.has(index + 1))
  const missed = new Map<string, number>()
  for (const {rule, text} of planted) {
    const hit = scanner.scan(Buffer.from(text)).findings.some(({kind}: Finding) => kind !== 'exact')
    if (!hit) missed.set(rule, (missed.get(rule) ?? 0) + 1)
  }
  for (const [rule, count] of missed) process.stderr.write(`missed: ${rule} ${count} of ${SAMPLES}\n`)
  const lost = [...missed.values()].reduce((sum, count) => sum + count, 0)
  return {planted: planted.length, found: planted.length - lost, rules: known.length}
}

/** Requests as agents send them: a conversation in JSON that holds files. */
function modelTraffic(files: readonly Buffer[]): Buffer[] {
  const requests: Buffer[] = []
  let bytes = 0
  for (let at = 0; at < files.length && bytes < MODEL_BYTES; at += 20) {
    const messages = files
      .slice(at, at + 20)
      .map((file) => ({role: 'user', content: [{type: 'tool_result', content: file.toString('utf8')}]}))
    const request = Buffer.from(JSON.stringify({model: 'claude', max_tokens: 32_000, messages}))
    requests.push(request)
    bytes += request.length
  }
  return requests
}
