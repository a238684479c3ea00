import {readFile, stat, statfs} from 'node:fs/promises'
import {dirname} from 'node:path'
import {CageError, ExitCode} from '../core/errors.js'
import type {Runner} from '../core/runner.js'
import type {Computer} from './machine/choose-driver.js'
import {guestChecks} from './machine/guest-checks.js'

/** One thing that cage needs on this computer. */
export interface Check {
  name: string
  ok: boolean
  /** what was found, for the person */
  found: string
  /** the command or sentence that fixes it; absent when all is well */
  fix?: string
  /** false = things work without it, less well */
  required: boolean
}

export interface DoctorOptions extends Computer {
  /** of the machine that is wanted */
  driver: 'local' | 'lima' | 'vagrant' | 'ssh' | 'none'
  /** absent = kubeadm */
  cluster?: 'kubeadm' | 'microk8s'
  nodeVersion: string
  /** `$XDG_STATE_HOME` and `$XDG_CACHE_HOME` */
  stateHome: string
  cacheHome: string
  /** the machine exists: its disks need no more room than what is written to them */
  made?: boolean
  /** Kubernetes is already compiled on this computer, so that no compiler is needed */
  compiled: boolean
}

const GIB = 1024 ** 3

/** Program → Debian package that has it. */
const everywhere = {git: 'git'} as const
/** To build what a node starts from. */
const buildPrograms = {mmdebstrap: 'mmdebstrap', tar: 'tar', gzip: 'gzip'} as const
const localPrograms = {
  slirp4netns: 'slirp4netns',
  unshare: 'util-linux',
  nsenter: 'util-linux',
  setpriv: 'util-linux',
  losetup: 'mount',
  ip: 'iproute2',
  'mkfs.ext4': 'e2fsprogs',
  pgrep: 'procps',
} as const

/** Everything cage needs here, found by trying where looking is not enough. Never throws for something that is missing. */
export async function doctorChecks(options: DoctorOptions): Promise<Check[]> {
  const checks = [nodeCheck(options.nodeVersion), ...(await programChecks(options.runner, everywhere))]
  const {driver, uid, platform} = options
  if (driver === 'none') return checks
  checks.push(platformCheck(platform))
  if (driver === 'lima' || driver === 'vagrant') checks.push(...(await guestChecks(driver, options)))
  if (driver === 'local') checks.push(rootCheck(uid, 'machine `local` makes namespaces, mounts and disks.'))
  if (platform !== 'linux') return checks
  // What microk8s is comes from the store, into the machine.
  if (options.cluster !== 'microk8s') checks.push(...(await buildChecks(options)))
  if (driver === 'local') checks.push(...(await localChecks(options)))
  if (driver !== 'ssh')
    checks.push(
      await diskCheck('disk for the machine', options.stateHome, options.made === true ? 1 : 15),
      await memoryCheck(),
    )
  return checks
}

async function localChecks(options: DoctorOptions): Promise<Check[]> {
  return [
    ...(await programChecks(options.runner, localPrograms)),
    await namespaceCheck(options),
    await userNamespaceCheck(),
    await deviceCheck('/dev/loop-control', 'loop devices', 'modprobe loop'),
    await deviceCheck('/dev/net/tun', 'tunnel devices', 'modprobe tun'),
  ]
}

/** What a node starts from is built on this computer, wherever the node runs. */
async function buildChecks(options: DoctorOptions): Promise<Check[]> {
  const {runner, driver, uid, compiled, cacheHome} = options
  // Without root the other users of the root file system come out of a user namespace.
  const rootless = driver !== 'local' && uid !== 0
  const programs = {
    ...buildPrograms,
    ...(rootless ? {newuidmap: 'uidmap'} : {}),
    ...(driver === 'ssh' ? {ssh: 'openssh-client'} : {}),
  }
  const checks = await programChecks(runner, programs)
  if (!compiled) checks.push(await goCheck(runner), await diskCheck('disk for what is built', cacheHome, 8))
  return checks
}

/** What building images on this computer itself takes, where there is no machine to build on. */
export async function imageBuildChecks(runner: Runner, uid: number, platform: string): Promise<Check[]> {
  const {mmdebstrap, tar} = buildPrograms
  const {unshare} = localPrograms
  return [
    check(
      'Linux',
      platform === 'linux',
      platform,
      'Push the images from a Linux computer once; then any will do.',
    ),
    check(
      'root',
      uid === 0,
      `uid ${uid}`,
      'Run `cage up` as root once: it installs Debian packages into images.',
    ),
    ...(await programChecks(runner, {mmdebstrap, unshare, tar})),
  ]
}

/** Throws PRECONDITION (exit 3) that names each missing thing; its hints are the commands that fix it. */
export function demandAll(checks: readonly Check[], where?: string): void {
  const missing = checks.filter(({ok, required}) => required && !ok)
  if (missing.length === 0) return
  const packages = missing.flatMap(({fix}) => /^apt-get install -y (\S+)$/.exec(fix ?? '')?.[1] ?? [])
  const others = missing.flatMap(({fix}) =>
    fix === undefined || fix.startsWith('apt-get install') ? [] : [fix],
  )
  throw new CageError(
    `missing on ${where ?? 'this computer'}: ${missing.map(({name, found}) => `${name} (${found})`).join(', ')}`,
    {
      code: 'PRECONDITION',
      exitCode: ExitCode.precondition,
      hints: [
        ...(packages.length > 0 ? [`apt-get install -y ${[...new Set(packages)].sort().join(' ')}`] : []),
        ...others,
        ...(where === undefined ? ['Run `cage doctor` to see everything that cage needs.'] : []),
      ],
    },
  )
}

function check(name: string, ok: boolean, found: string, fix: string, required = true): Check {
  return {name, ok, found, ...(ok ? {} : {fix}), required}
}

function nodeCheck(version: string): Check {
  const [major = 0, minor = 0] = version.replace(/^v/, '').split('.').map(Number)
  const ok = major > 20 || (major === 20 && minor >= 19)
  return check('Node.js', ok, version, 'Install Node.js 20.19 or newer.')
}

function platformCheck(platform: string): Check {
  return check(
    'Linux',
    platform === 'linux',
    platform,
    'Run cage on Linux: what a node starts from is built there.',
  )
}

function rootCheck(uid: number, why: string): Check {
  return check('root', uid === 0, `uid ${uid}`, `Run cage as root: ${why}`)
}

async function programChecks(runner: Runner, programs: Readonly<Record<string, string>>): Promise<Check[]> {
  const found = await Promise.all(
    Object.keys(programs).map(async (program) => {
      const {code, stdout} = await runner.run({argv: ['sh', '-c', 'command -v -- "$1"', 'sh', program]})
      return code === 0 ? stdout.toString().trim() : undefined
    }),
  )
  return Object.entries(programs).map(([program, packaged], i) =>
    check(program, found[i] !== undefined, found[i] ?? 'not found', `apt-get install -y ${packaged}`),
  )
}

async function goCheck(runner: Runner): Promise<Check> {
  const fix = 'Install Go 1.26 or newer: Kubernetes is compiled once on this computer.'
  const {code, stdout} = await runner.run({
    argv: ['sh', '-c', 'command -v go >/dev/null && go env GOVERSION'],
  })
  if (code !== 0) return check('go', false, 'not found', fix)
  const [, major = '0', minor = '0'] = /^go(\d+)\.(\d+)/.exec(stdout.toString()) ?? []
  // Any Go since 1.21 fetches the tool chain that go.mod names.
  return check('go', Number(major) > 1 || Number(minor) >= 21, stdout.toString().trim(), fix)
}

async function namespaceCheck({runner, uid}: DoctorOptions): Promise<Check> {
  const name = 'namespaces and overlay file systems'
  if (uid !== 0) return check(name, false, 'only root can try', 'Run cage as root.', false)
  const attempt =
    'mount -t tmpfs t /mnt && mkdir /mnt/l /mnt/u /mnt/w /mnt/m && mount -t overlay -o lowerdir=/mnt/l,upperdir=/mnt/u,workdir=/mnt/w o /mnt/m'
  const {code, stderr} = await runner.run({
    argv: [
      'unshare',
      '--mount',
      '--net',
      '--uts',
      '--ipc',
      '--pid',
      '--cgroup',
      '--fork',
      'sh',
      '-c',
      attempt,
    ],
    timeoutMs: 20_000,
  })
  const fix =
    'Use a kernel with namespaces and overlayfs, or another machine driver; inside a container, run it privileged.'
  return check(name, code === 0, code === 0 ? 'work' : (stderr.trim().split('\n').at(-1) ?? ''), fix)
}

async function userNamespaceCheck(): Promise<Check> {
  const limit = Number(await readFile('/proc/sys/user/max_user_namespaces', 'utf8').catch(() => '0'))
  const fix = 'sysctl user.max_user_namespaces=10000: an escape from a pod then lands on an unprivileged user'
  return check('user namespaces', limit > 0, `at most ${limit}`, fix, false)
}

async function deviceCheck(path: string, name: string, fix: string): Promise<Check> {
  const there = (await stat(path).catch(() => undefined))?.isCharacterDevice() === true
  return check(name, there, there ? path : `${path} is not there`, fix)
}

async function diskCheck(name: string, directory: string, gib: number): Promise<Check> {
  const {bavail, bsize} = await statfs(await existingParent(directory))
  const free = Math.floor((bavail * bsize) / GIB)
  return check(name, free >= gib, `${free} GiB free`, `Free ${gib} GiB at ${directory}.`)
}

async function existingParent(path: string): Promise<string> {
  let directory = path
  while ((await stat(directory).catch(() => undefined)) === undefined) directory = dirname(directory)
  return directory
}

async function memoryCheck(): Promise<Check> {
  const meminfo = await readFile('/proc/meminfo', 'utf8').catch(() => '')
  const gib = Number(/MemTotal:\s+(\d+)/.exec(meminfo)?.[1] ?? 0) / 1024 ** 2
  return check('memory', gib >= 3.5, `${gib.toFixed(1)} GiB`, 'Use a computer with 4 GiB of memory or more.')
}
