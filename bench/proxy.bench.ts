/**
 * The sidecar beside squid with ssl-bump, mitmproxy and no proxy at all: one run, one origin, in turns. Proxies on core
 * 0, origin and load on core 1. Everything in a network namespace of its own; needs root and Debian.
 */
import {spawn, spawnSync} from 'node:child_process'
import {chmodSync, mkdtempSync, rmSync} from 'node:fs'
import {tmpdir} from 'node:os'
import {join, resolve} from 'node:path'
import {fileURLToPath} from 'node:url'
import {createScanner} from '../scan/scanner.js'
import {buildGitleaks} from './gitleaks.js'
import {median, report} from './measure.js'
import {serveSidecar, startMitmproxy, startSidecar, startSquid, type Proxy} from './proxy/contestants.js'
import {LIVE_POLICY_SECONDS, livePolicyMs} from './proxy/live-policy.js'
import {run, type Load, type Measured} from './proxy/load.js'
import {clone, npmCi, serveRepositories, writePackages, writeRepository, type Way} from './proxy/projects.js'
import {installTools} from './proxy/tools.js'
import {originAddress, serveEvents, writeOrigin} from './proxy/world.js'
import {cpuMsPerMb, gitleaksMsPerMb, sourceFiles} from './scan-cost.js'

const PROJECT_ROUNDS = 3
const program = fileURLToPath(import.meta.url)
const [, , command = '', argument = '', scan = ''] = process.argv
const commands: Record<string, () => Promise<void> | void> = {
  sidecar: () => serveSidecar(argument),
  events: serveEvents,
  repositories: () => serveRepositories(argument),
  load: async () => void process.stdout.write(JSON.stringify(await run(JSON.parse(argument) as Load))),
  inside: () => compare(argument, Number(scan)),
}
const act = commands[command]
if (act) await act()
else await outside()

/** A network and a hosts file that nobody else sees. */
async function outside(): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'cage-bench-proxy-'))
  // Squid's helpers are another user's.
  chmodSync(directory, 0o755)
  try {
    installTools()
    writeOrigin(directory)
    writePackages(directory)
    writeRepository(directory)
    const scanned = await scanVersusGitleaks()
    const script = `set -e; ip link set lo up; ip addr add ${originAddress}/32 dev lo
      mount --bind ${directory}/hosts /etc/hosts; exec ${process.execPath} ${program} inside ${directory} ${scanned}`
    const {status} = spawnSync(
      'unshare',
      ['--net', '--mount', '--pid', '--fork', '--kill-child', '--mount-proc', 'sh', '-c', script],
      {stdio: 'inherit'},
    )
    process.exitCode = status ?? 1
  } finally {
    rmSync(directory, {force: true, recursive: true})
  }
}

/** CPU on the same code; NaN, and so missed, where Go cannot build gitleaks. */
async function scanVersusGitleaks(): Promise<number> {
  const folder = resolve('dist/bench/gitleaks')
  try {
    const {program: gitleaks} = await buildGitleaks(folder)
    const bodies = sourceFiles().files.map(({bytes}) => bytes)
    return cpuMsPerMb(createScanner(), bodies) / (await gitleaksMsPerMb(gitleaks, folder, bodies))
  } catch (error) {
    process.stderr.write(`scan_vs_gitleaks is not measured: ${String(error)}\n`)
    return NaN
  }
}

type Name = 'direct' | 'cage' | 'squid' | 'mitmproxy'
interface Result extends Measured {
  /** seconds, of the proxy */
  cpu: number
}

async function compare(directory: string, scanned: number): Promise<void> {
  const tools = installTools()
  const ca = join(directory, 'origin-ca.pem')
  const onOriginsCore = (argv: string[]) =>
    spawn('taskset', ['-c', '1', ...argv], {stdio: ['ignore', 'ignore', 'inherit']})
  const origin = [
    onOriginsCore([tools.nginx, '-c', join(directory, 'nginx.conf')]),
    onOriginsCore([process.execPath, program, 'events']),
    onOriginsCore([process.execPath, program, 'repositories', directory]),
  ]
  const proxies: Record<Exclude<Name, 'direct'>, Proxy> = {
    cage: await startSidecar(directory, program),
    squid: await startSquid(directory, tools, ca),
    mitmproxy: await startMitmproxy(directory, tools, ca),
  }
  try {
    await new Promise((resolve) => setTimeout(resolve, 1500))
    const idle = {
      cage: proxies.cage.memory().now,
      squid: proxies.squid.memory().now,
      mitmproxy: proxies.mitmproxy.memory().now,
    }
    await measure(proxies, {
      idle,
      versions: tools.versions,
      projects: projects(directory, proxies.cage.port),
      livePolicy: () => livePolicy(directory, proxies.cage.port),
      scanned,
    })
  } finally {
    for (const proxy of Object.values(proxies)) proxy.stop()
    for (const one of origin) one.kill('SIGKILL')
  }
}

interface Beside {
  idle: Record<string, number>
  versions: Record<string, string>
  /** seconds a round, of each project and way */
  projects: () => Record<'npm' | 'clone', {direct: number[]; cage: number[]}>
  /** milliseconds, of each new revision */
  livePolicy: () => Promise<number[]>
  scanned: number
}

/** New revisions while connections are busy with requests. */
async function livePolicy(directory: string, proxyPort: number): Promise<number[]> {
  const load: Load = {
    kind: 'requests',
    address: originAddress,
    path: '/small',
    connections: 32,
    seconds: LIVE_POLICY_SECONDS,
    proxyPort,
  }
  const traffic = inOwnProcess(load)
  const times = await livePolicyMs(directory, proxyPort)
  const {done, failed} = await traffic
  if (done === 0 || failed > 0)
    throw new Error(`traffic during new revisions: ${done} done, ${failed} failed`)
  return times
}

/** Whole projects with and without the sidecar, in turns. */
function projects(directory: string, proxyPort: number): Beside['projects'] {
  const direct: Way = {ca: join(directory, 'origin-ca.pem')}
  const cage: Way = {proxyPort, ca: join(directory, 'sidecar', 'trust', 'ca.pem')}
  return () => {
    const seconds = {
      npm: {direct: [] as number[], cage: [] as number[]},
      clone: {direct: [] as number[], cage: [] as number[]},
    }
    for (let round = 0; round < PROJECT_ROUNDS; round++) {
      seconds.npm.direct.push(npmCi(directory, direct))
      seconds.npm.cage.push(npmCi(directory, cage))
      seconds.clone.direct.push(clone(directory, direct))
      seconds.clone.cage.push(clone(directory, cage))
    }
    process.stderr.write(`npm ci and git clone, seconds: ${JSON.stringify(seconds)}\n`)
    return seconds
  }
}

async function measure(
  proxies: Record<Exclude<Name, 'direct'>, Proxy>,
  {idle, versions, projects: measureProjects, livePolicy: measureLivePolicy, scanned}: Beside,
): Promise<void> {
  const all: Name[] = ['direct', 'cage', 'squid', 'mitmproxy']
  const h2: Name[] = ['direct', 'cage', 'mitmproxy']
  const inTurns = (what: string, rounds: number, load: Omit<Load, 'address' | 'proxyPort'>, names = all) =>
    alternating(what, rounds, {...load, address: originAddress}, names, proxies)
  // Compilers and caches are warm before anything counts.
  await inTurns('warm-up', 1, {
    kind: 'requests',
    path: '/small',
    connections: 32,
    seconds: 30,
    count: 20_000,
  })
  const requests = await inTurns('keep-alive requests', 3, {
    kind: 'requests',
    path: '/small',
    connections: 32,
    seconds: 4,
  })
  const tls = await inTurns('new TLS connections', 3, {
    kind: 'connections',
    path: '/small',
    connections: 8,
    seconds: 4,
  })
  const latency = await inTurns('one after the other', 3, {
    kind: 'requests',
    path: '/small',
    connections: 1,
    seconds: 10,
    count: 1500,
  })
  const download = await inTurns('100 MB down', 3, {
    kind: 'bytes',
    path: '/large',
    connections: 1,
    seconds: 60,
    count: 1,
  })
  // In two parts: the sidecar takes no larger body than 64 MB.
  const upload = await inTurns('100 MB up', 3, {
    kind: 'bytes',
    path: '/upload',
    connections: 1,
    seconds: 60,
    count: 2,
    body: 50_000_000,
  })
  const json = await inTurns('POST of 100 KB JSON', 3, {
    kind: 'requests',
    path: '/upload',
    connections: 8,
    seconds: 4,
    body: 100_000,
  })
  const events = await inTurns('events', 3, {kind: 'events', path: '/events', connections: 4, seconds: 5})
  const unary = await inTurns(
    'HTTP/2 requests',
    3,
    {kind: 'http2', path: '/small', connections: 2, seconds: 4},
    h2,
  )

  const revisions = await measureLivePolicy()
  const {npm, clone: cloned} = measureProjects()

  const rate = (results: Map<Name, Result[]>, name: Name) =>
    median((results.get(name) ?? []).map(({done, seconds}) => done / seconds))
  const cpu = (results: Map<Name, Result[]>, name: Name) =>
    median((results.get(name) ?? []).map((one) => (one.cpu / one.done) * 1e6))
  const middle = (results: Map<Name, Result[]>, name: Name, field: 'p50' | 'p99') =>
    median((results.get(name) ?? []).map((one) => one[field]))
  const faster = (results: Map<Name, Result[]>, than: Name) => rate(results, 'cage') / rate(results, than)
  const values: Record<string, number> = {}
  for (const name of all) {
    values[`${name}RequestsPerSecond`] = rate(requests, name)
    values[`${name}TlsPerSecond`] = rate(tls, name)
    values[`${name}LatencyP50Us`] = middle(latency, name, 'p50')
    values[`${name}LatencyP99Us`] = middle(latency, name, 'p99')
    values[`${name}DownMBPerSecond`] = rate(download, name) * 100
    values[`${name}UpMBPerSecond`] = rate(upload, name) * 50
    values[`${name}JsonPostsPerSecond`] = rate(json, name)
    values[`${name}EventP50Ms`] = middle(events, name, 'p50') / 1000
    if (name === 'direct') continue
    values[`${name}CpuUsPerRequest`] = cpu(requests, name)
    values[`${name}CpuUsPerTls`] = cpu(tls, name)
    values[`${name}CpuUsPerJsonPost`] = cpu(json, name)
    values[`${name}IdleMB`] = idle[name] ?? NaN
    values[`${name}PeakMB`] = proxies[name].memory().peak
    values[`${name}ReadyMs`] = proxies[name].readyMs
  }
  values['live_policy_ms_p50'] = median(revisions)
  values['live_policy_ms_max'] = Math.max(...revisions)
  values['directNpmCiSeconds'] = median(npm.direct)
  values['cageNpmCiSeconds'] = median(npm.cage)
  values['directCloneSeconds'] = median(cloned.direct)
  values['cageCloneSeconds'] = median(cloned.cage)
  values['cageCpuUsPerHttp2'] = cpu(unary, 'cage')
  values['mitmproxyCpuUsPerHttp2'] = cpu(unary, 'mitmproxy')
  values['eventDelayP50Ms'] = (values['cageEventP50Ms'] ?? NaN) - (values['directEventP50Ms'] ?? NaN)
  process.stderr.write(
    `against ${Object.entries(versions)
      .map((one) => one.join(' '))
      .join(', ')}\n`,
  )
  report({
    bench: 'proxy',
    ratios: {
      requests_vs_mitmproxy: faster(requests, 'mitmproxy'),
      requests_vs_squid: faster(requests, 'squid'),
      tls_vs_mitmproxy: faster(tls, 'mitmproxy'),
      tls_vs_squid: faster(tls, 'squid'),
      latency_p50_vs_squid: middle(latency, 'cage', 'p50') / middle(latency, 'squid', 'p50'),
      download_vs_squid: faster(download, 'squid'),
      upload_vs_mitmproxy: faster(upload, 'mitmproxy'),
      json_post_vs_mitmproxy: faster(json, 'mitmproxy'),
      scan_vs_gitleaks: scanned,
      npm_ci_vs_direct: median(npm.cage) / median(npm.direct),
      clone_vs_direct: median(cloned.cage) / median(cloned.direct),
      cpu_vs_squid: cpu(requests, 'cage') / cpu(requests, 'squid'),
      cpu_vs_mitmproxy: cpu(requests, 'cage') / cpu(requests, 'mitmproxy'),
      http2_cpu_vs_mitmproxy: cpu(unary, 'cage') / cpu(unary, 'mitmproxy'),
    },
    least: {
      requests_vs_mitmproxy: 15,
      requests_vs_squid: 0.8,
      tls_vs_mitmproxy: 5,
      tls_vs_squid: 3,
      download_vs_squid: 1,
      upload_vs_mitmproxy: 0.6,
      json_post_vs_mitmproxy: 1,
    },
    targets: {
      latency_p50_vs_squid: 1.15,
      scan_vs_gitleaks: 1,
      eventDelayP50Ms: 0.5,
      live_policy_ms_p50: 200,
      cageIdleMB: 80,
      npm_ci_vs_direct: 1.15,
      clone_vs_direct: 1.15,
    },
    values,
  })
}

/** Every contestant once a round, so that a slow minute meets all of them. */
async function alternating(
  what: string,
  rounds: number,
  load: Load,
  names: readonly Name[],
  proxies: Record<Exclude<Name, 'direct'>, Proxy>,
): Promise<Map<Name, Result[]>> {
  const results = new Map<Name, Result[]>(names.map((name) => [name, []]))
  for (let round = 0; round < rounds; round++) {
    for (const name of names) {
      const proxy = name === 'direct' ? undefined : proxies[name]
      const before = proxy?.cpu() ?? 0
      const measured = await inOwnProcess({...load, proxyPort: proxy?.port})
      results.get(name)?.push({...measured, cpu: (proxy?.cpu() ?? 0) - before})
    }
  }
  const words = names.map((name) => {
    const {done, seconds, p50, failed} = results.get(name)?.at(-1) ?? {
      done: 0,
      seconds: 1,
      p50: NaN,
      failed: 0,
    }
    return `${name} ${(done / seconds).toFixed(1)}/s p50 ${(p50 / 1000).toFixed(2)} ms${failed ? ` (${failed} failed)` : ''}`
  })
  process.stderr.write(`${what}: ${words.join(' · ')}\n`)
  return results
}

function inOwnProcess(load: Load): Promise<Measured> {
  return new Promise((resolve, reject) => {
    const child = spawn('taskset', ['-c', '1', process.execPath, program, 'load', JSON.stringify(load)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    let said = ''
    child.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()))
    child.on('error', reject)
    child.on('close', (code) => {
      if (code === 0) resolve(JSON.parse(said) as Measured)
      else reject(new Error(`the load ended with ${String(code)}`))
    })
  })
}
