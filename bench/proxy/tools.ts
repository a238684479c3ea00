/** What is compared with, installed where it is missing: nginx and squid from Debian, mitmproxy from PyPI in a folder of its own. */
import {execFileSync} from 'node:child_process'
import {existsSync, mkdirSync} from 'node:fs'
import {homedir} from 'node:os'
import {join} from 'node:path'

const packages = {
  nginx: 'nginx-light',
  squid: 'squid-openssl',
  taskset: 'util-linux',
  python3: 'python3-venv',
} as const

export interface Tools {
  nginx: string
  squid: string
  certificateHelper: string
  mitmdump: string
  versions: Record<'mitmproxy' | 'nginx' | 'squid', string>
}

export function installTools(): Tools {
  const missing = Object.entries(packages).filter(([tool]) => !find(tool))
  if (missing.length > 0) {
    const env = {...process.env, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1'}
    execFileSync('apt-get', ['update', '-qq'], {env, stdio: ['ignore', 'ignore', 'inherit']})
    const names = missing.map(([, name]) => name)
    execFileSync('apt-get', ['install', '-y', '-qq', '--no-install-recommends', ...names], {
      env,
      stdio: ['ignore', 'ignore', 'inherit'],
    })
  }
  const venv = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'cage-bench', 'mitmproxy')
  const mitmdump = join(venv, 'bin', 'mitmdump')
  if (!existsSync(mitmdump)) {
    mkdirSync(venv, {recursive: true})
    execFileSync('python3', ['-m', 'venv', venv])
    execFileSync(join(venv, 'bin', 'pip'), ['install', '-q', 'mitmproxy'], {
      stdio: ['ignore', 'ignore', 'inherit'],
    })
  }
  const said = (command: string, ...args: string[]) =>
    execFileSync('sh', ['-c', '"$@" 2>&1', 'sh', command, ...args]).toString()
  const nginx = find('nginx') ?? ''
  const squid = find('squid') ?? ''
  return {
    nginx,
    squid,
    certificateHelper: '/usr/lib/squid/security_file_certgen',
    mitmdump,
    versions: {
      mitmproxy: /Mitmproxy: *(\S+)/.exec(said(mitmdump, '--version'))?.[1] ?? '?',
      nginx: /nginx\/(\S+)/.exec(said(nginx, '-v'))?.[1] ?? '?',
      squid: /Version (\S+)/.exec(said(squid, '-v'))?.[1] ?? '?',
    },
  }
}

function find(tool: string): string | undefined {
  const folders = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin']
  return folders.map((folder) => join(folder, tool)).find((path) => existsSync(path))
}
