/** The proxies, each started on core 0 with the same work to do: end TLS, make it anew, pass on. Ours judges, scans and records as well. */
import {execFileSync, spawn, type ChildProcess} from 'node:child_process'
import {chmodSync, mkdirSync, readFileSync, readdirSync, writeFileSync} from 'node:fs'
import {connect} from 'node:net'
import {join} from 'node:path'
import {sidecarPort} from '../../core/layout.js'
import {serve} from '../../proxy/serve.js'
import {fileOf, writeGrant} from './grant.js'
import type {Tools} from './tools.js'

export interface Proxy {
  port: number
  /** milliseconds from start to an open port */
  readyMs: number
  /** seconds of CPU so far, of all its processes */
  cpu(): number
  /** MB */
  memory(): {now: number; peak: number}
  stop(): void
}

const CLOCK_TICKS = 100

export async function startProxy(
  argv: readonly string[],
  port: number,
  env: Record<string, string> = {},
): Promise<Proxy> {
  const started = performance.now()
  const child = spawn('taskset', ['-c', '0', ...argv], {
    env: {...process.env, ...env},
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  await opened(port, child)
  const readyMs = performance.now() - started
  const pid = child.pid ?? 0
  return {
    port,
    readyMs,
    cpu: () => family(pid).reduce((sum, one) => sum + cpuOf(one), 0),
    memory: () => ({now: sumOf(pid, 'VmRSS'), peak: sumOf(pid, 'VmHWM')}),
    stop: () => family(pid).reverse().forEach(end),
  }
}

async function opened(port: number, child: ChildProcess): Promise<void> {
  for (;;) {
    if (child.exitCode !== null) throw new Error(`${child.spawnargs.join(' ')} ended with ${child.exitCode}`)
    const isOpen = await new Promise<boolean>((resolve) => {
      const socket = connect(port, '127.0.0.1')
      const say = (open: boolean) => () => {
        socket.destroy()
        resolve(open)
      }
      socket.once('connect', say(true)).once('error', say(false))
    })
    if (isOpen) return
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

function family(pid: number): number[] {
  const parents = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((name): [number, number] => {
      try {
        const stat = readFileSync(`/proc/${name}/stat`, 'utf8')
        return [Number(name), Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1])]
      } catch {
        return [Number(name), 0]
      }
    })
  const found = [pid]
  for (const one of found)
    found.push(...parents.filter(([, parent]) => parent === one).map(([child]) => child))
  return found
}

function cpuOf(pid: number): number {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return (Number(fields[11]) + Number(fields[12])) / CLOCK_TICKS
  } catch {
    return 0
  }
}

function sumOf(pid: number, field: string): number {
  return family(pid).reduce((sum, one) => {
    try {
      const status = readFileSync(`/proc/${one}/status`, 'utf8')
      return sum + Number(new RegExp(`${field}:\\s+(\\d+)`).exec(status)?.[1] ?? 0) / 1024
    } catch {
      return sum
    }
  }, 0)
}

function end(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It has ended by itself.
  }
}

export function startSquid(
  directory: string,
  {squid, certificateHelper}: Tools,
  originCa: string,
): Promise<Proxy> {
  const home = join(directory, 'squid')
  mkdirSync(home)
  const key = join(home, 'ca.pem')
  execFileSync(
    'openssl',
    [
      'req',
      '-x509',
      '-newkey',
      'rsa:2048',
      '-nodes',
      '-days',
      '2',
      '-subj',
      '/CN=bench squid',
      '-addext',
      'basicConstraints=critical,CA:TRUE',
      '-keyout',
      key,
      '-out',
      `${key}.crt`,
    ],
    {stdio: 'ignore'},
  )
  writeFileSync(key, readFileSync(key, 'utf8') + readFileSync(`${key}.crt`, 'utf8'))
  execFileSync(certificateHelper, ['-c', '-s', join(home, 'certificates'), '-M', '16MB'], {stdio: 'ignore'})
  execFileSync('chown', ['-R', 'proxy:proxy', home])
  chmodSync(home, 0o755)
  const config = join(home, 'squid.conf')
  writeFileSync(
    config,
    `http_port 127.0.0.1:3129 ssl-bump tls-cert=${key} generate-host-certificates=on dynamic_cert_mem_cache_size=16MB
sslcrtd_program ${certificateHelper} -s ${join(home, 'certificates')} -M 16MB
sslcrtd_children 4
tls_outgoing_options cafile=${originCa}
acl hello at_step SslBump1
ssl_bump peek hello
ssl_bump bump all
cache deny all
cache_mem 8 MB
access_log none
cache_log ${join(home, 'cache.log')}
pid_filename ${join(home, 'squid.pid')}
coredump_dir ${home}
http_access allow all
shutdown_lifetime 0 seconds
pinger_enable off
client_persistent_connections on
server_persistent_connections on
`,
  )
  return startProxy([squid, '-N', '-f', config], 3129)
}

export function startMitmproxy(directory: string, {mitmdump}: Tools, originCa: string): Promise<Proxy> {
  const argv = [
    '--listen-host',
    '127.0.0.1',
    '--listen-port',
    '3130',
    '-q',
    '--set',
    `confdir=${join(directory, 'mitm')}`,
  ]
  const options = ['--set', 'stream_large_bodies=1', '--set', `ssl_verify_upstream_trusted_ca=${originCa}`]
  return startProxy([mitmdump, ...argv, ...options], 3130)
}

/** @param program of this measurement, which starts the sidecar when it is asked to */
export function startSidecar(directory: string, program: string): Promise<Proxy> {
  return startProxy([process.execPath, program, 'sidecar', directory], sidecarPort.explicit)
}

/** Policy, scanner with all patterns, audit on disk and metrics: nothing is turned off. */
export async function serveSidecar(directory: string): Promise<void> {
  const path = (name: string) => fileOf(directory, name)
  for (const name of ['state', 'ledger', 'trust']) mkdirSync(path(name), {recursive: true})
  const grantKey = writeGrant(directory)
  await serve({
    grantKey,
    grantDirectory: path('grant'),
    stateDirectory: path('state'),
    ledgerDirectory: path('ledger'),
    trustDirectory: path('trust'),
    controlSocket: path('state/control.sock'),
    systemRoots: join(directory, 'origin-ca.pem'),
  })
}
