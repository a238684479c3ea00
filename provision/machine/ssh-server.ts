import {lookup} from 'node:dns/promises'
import {readFile} from 'node:fs/promises'
import {hostname, userInfo} from 'node:os'
import {join} from 'node:path'
import {CageError, ExitCode} from '../../core/errors.js'
import {runOk} from '../../core/process.js'
import type {Runner} from '../../core/runner.js'
import {demandAll, type Check} from '../doctor.js'
import {readIfThere, writePrivate} from '../state/files.js'
import type {ProjectFiles} from '../state/layout.js'
import type {MachineRecord, ProjectNetwork, SshServer} from '../state/machine-record.js'
import {networkOf} from '../state/network.js'
import {output} from '../transport/output.js'
import {foreignLine, newMark} from '../transport/ssh-command.js'
import {newSshKey} from '../transport/ssh-key.js'
import {sshTransport, type SshTarget} from '../transport/ssh.js'
import type {RemoteTransport} from '../transport/transport.js'

export interface ServerPlaces {
  runner: Runner
  /** where cage is installed: holds provision/guest */
  packageRoot: string
  files: ProjectFiles
}

/** What the person wrote about the server. */
export type SshAddress = Omit<SshServer, 'user'>

const CONTACT_MS = 180_000
/** Enough for the layers, the disks of a small project and its images. */
const SERVER_GIB = 15
const hostKeyTypes = [
  'ssh-ed25519',
  'ecdsa-sha2-nistp256',
  'ecdsa-sha2-nistp384',
  'ecdsa-sha2-nistp521',
  'ssh-rsa',
]

/** The name under which a project's server stands in its own known_hosts file. */
const alias = (id: string) => `cage-${id}`

/** The way to the project's server, with the project's own key and the pinned host key. */
export function serverTransport({runner, files}: ServerPlaces, {id, ssh}: MachineRecord): RemoteTransport {
  return sshTransport(runner, async () => {
    if (!ssh) throw new CageError('the record of the machine names no server', {code: 'STATE_DAMAGED'})
    const [, hostKey = ''] = /^\S+ (.+)$/m.exec((await readIfThere(files.sshKnownHosts)) ?? '') ?? []
    const target: SshTarget = {
      ...(await resolved(runner, ssh)),
      user: ssh.user,
      keyFile: files.sshKey,
      hostKey,
      knownHosts: files.sshKnownHosts,
      hostKeyAlias: alias(id),
    }
    return target
  })
}

/**
 * Goes to the server as the person does, with their own `ssh` program: their configuration, agent, jump hosts and
 * known_hosts. It lets the project's key in, and says over that authenticated connection which host key to pin.
 * Errors: HOST_KEY_UNKNOWN, HOST_KEY_CHANGED, SSH_NO_ACCESS, SUDO_NEEDED, SERVER_UNFIT, MACHINE_TAKEN.
 */
export async function contactServer(
  places: ServerPlaces,
  server: SshAddress,
  project: Pick<MachineRecord, 'id' | 'project' | 'repository'>,
): Promise<{ssh: SshServer; network: ProjectNetwork}> {
  const {files} = places
  const {id} = project
  const publicKey = await projectKey(files, id)
  const met = await meet(places, server, publicKey)
  const pinned = /^\S+ (.+)$/m.exec((await readIfThere(files.sshKnownHosts)) ?? '')?.[1]
  const hostKey = hostKeyTypes.flatMap((type) => met.hostKeys.filter((key) => key.startsWith(`${type} `)))[0]
  if (hostKey === undefined) throw unfit(server, 'it does not say which host key it has')
  if (pinned !== undefined && !met.hostKeys.includes(pinned)) {
    throw new CageError(
      `${server.host} is not the server that this project was made on: its host key is another`,
      {
        code: 'HOST_KEY_CHANGED',
        exitCode: ExitCode.denied,
        hints: ['If the server was made anew, its tasks are gone: `cage destroy` says how to forget it.'],
      },
    )
  }
  await writePrivate(files.sshKnownHosts, `${alias(id)} ${pinned ?? hostKey}\n`)
  const ssh: SshServer = {...server, user: met.user}
  const host = serverTransport(places, {...project, ssh} as MachineRecord)
  try {
    const network = await settle(host, places, {server, project, publicKey, met})
    return {ssh, network}
  } finally {
    await host.close()
  }
}

interface Met {
  user: string
  hostKeys: string[]
  /** the file that lets the key in */
  file: string
  made: string[]
}

async function meet(
  {runner, packageRoot}: ServerPlaces,
  server: SshAddress,
  publicKey: string,
): Promise<Met> {
  const mark = newMark()
  const script = await readFile(join(packageRoot, 'provision/guest/node/first-contact.sh'), 'utf8')
  const options = [
    'StrictHostKeyChecking=yes',
    'RemoteCommand=none',
    'ClearAllForwardings=yes',
    'ConnectTimeout=30',
  ]
  const argv: [string, ...string[]] = [
    ...(['ssh', '-T', '-a', '-x', ...options.flatMap((option) => ['-o', option])] as [string, ...string[]]),
    ...destination(server),
    foreignLine(['/bin/sh', '-c', script, 'sh', mark, publicKey]),
  ]
  const {code, stdout, stderr} = await runner.run({argv, timeoutMs: CONTACT_MS})
  const lines = stdout
    .toString()
    .split('\n')
    .flatMap((line) => (line.startsWith(`${mark} `) ? [line.slice(mark.length + 1)] : []))
  const values = (name: string) =>
    lines.flatMap((line) => (line.startsWith(`${name} `) ? [line.slice(name.length + 1)] : []))
  const [user] = values('user')
  const [file] = values('file')
  if (code === 0 && lines.includes('done') && user !== undefined && file !== undefined) {
    return {user, file, hostKeys: values('hostkey'), made: values('made')}
  }
  if (code === 78) {
    const [, name = 'an unknown system'] = /\((.+)\)$/.exec(values('system')[0] ?? '') ?? []
    throw unfit(server, `it runs ${name}`)
  }
  throw notMet(server, code, stderr)
}

function notMet({host}: SshAddress, code: number, stderr: string): CageError {
  const exitCode = ExitCode.precondition
  const said = stderr.trim().split('\n').slice(-3).join('\n')
  if (code === 77) {
    return new CageError(`the user at ${host} is not root and may not use sudo without a password`, {
      code: 'SUDO_NEEDED',
      exitCode,
      hints: [
        'On the server: echo "$USER ALL=(ALL) NOPASSWD: ALL" | sudo tee /etc/sudoers.d/cage',
        'Or name root as the user in `machine.ssh.host`.',
      ],
    })
  }
  if (stderr.includes('IDENTIFICATION HAS CHANGED')) {
    return new CageError(`the host key of ${host} is not the one that your ssh knows`, {
      code: 'HOST_KEY_CHANGED',
      exitCode: ExitCode.denied,
      hints: ['Find out why before you go on; `ssh-keygen -R` takes the old key out of your known_hosts.'],
    })
  }
  if (stderr.includes('Host key verification failed')) {
    return new CageError(`your ssh does not know the host key of ${host}`, {
      code: 'HOST_KEY_UNKNOWN',
      exitCode,
      hints: [
        `Run \`ssh ${host}\` once, compare the fingerprint that it shows, and answer yes; then \`cage up\`.`,
      ],
    })
  }
  return new CageError(`ssh does not get to ${host} (exit code ${code})${said ? `:\n${said}` : ''}`, {
    code: 'SSH_NO_ACCESS',
    exitCode,
    hints: [`Make \`ssh ${host}\` work first: cage goes there the same way, once.`],
  })
}

/** The server is fit, and a place on it is this project's; otherwise nothing of it stays there. */
async function settle(
  host: RemoteTransport,
  {packageRoot}: ServerPlaces,
  {
    server,
    project,
    publicKey,
    met,
  }: {
    server: SshAddress
    project: Pick<MachineRecord, 'id' | 'repository'>
    publicKey: string
    met: Met
  },
): Promise<ProjectNetwork> {
  const script = (name: string) => readFile(join(packageRoot, 'provision/guest/node', name), 'utf8')
  try {
    demandAll(await serverChecks(host, packageRoot, project.id), `the server ${server.host}`)
    const owner = `${userInfo().username}@${hostname()}:${project.repository}`
    const argv = [
      'sh',
      '-c',
      await script('claim.sh'),
      'sh',
      project.id,
      owner,
      publicKey,
      met.file,
      ...met.made,
    ] as const
    const [word, value = ''] = (await output(host, {argv})).trim().split(/ (.*)/s)
    const second = Number(value)
    if (word === 'network' && Number.isInteger(second) && second >= 200 && second <= 254)
      return networkOf(second)
    throw new CageError(`the server ${server.host} already has a machine ${project.id}, of ${value}`, {
      code: 'MACHINE_TAKEN',
      exitCode: ExitCode.precondition,
      hints: [
        'Give one of the two projects another name: `project:` in cage.yaml.',
        `If that one is not needed any more, on the server: sudo /var/lib/cage/${project.id}/guest/node/remove.sh`,
      ],
    })
  } catch (cause) {
    await revoke(host, await script('revoke.sh'), publicKey, met).catch(() => undefined)
    throw cause
  }
}

async function revoke(host: RemoteTransport, script: string, publicKey: string, met: Met): Promise<void> {
  const wrapper = `set -eu; d=$(mktemp -d); printf '%s\\n' "$2" >"$d/key"; printf '%s\\n' "$3" >"$d/file"; printf '%s' "$4" >"$d/made"
    sh -c "$1" sh "$d"; rm -r "$d"`
  const made = met.made.map((path) => `${path}\n`).join('')
  await output(host, {argv: ['sh', '-c', wrapper, 'sh', script, publicKey, met.file, made]})
}

/** What the node of a project needs there, found by trying. */
async function serverChecks(host: RemoteTransport, packageRoot: string, id: string): Promise<Check[]> {
  const script = await readFile(join(packageRoot, 'provision/guest/node/check.sh'), 'utf8')
  const machine = process.arch === 'arm64' ? 'aarch64' : 'x86_64'
  const text = await output(host, {
    argv: ['bash', '-c', script, 'bash', machine, String(SERVER_GIB), id],
    timeoutMs: 60_000,
  })
  return text
    .trim()
    .split('\n')
    .map((line) => {
      const [name = '', ok = '', found = '', fix = ''] = line.split('\t')
      return {name, ok: ok === 'yes', found, ...(ok === 'yes' ? {} : {fix}), required: true}
    })
}

/** Where the person's ssh would go: their configuration may name another address, port and the way there. */
async function resolved(
  runner: Runner,
  server: SshAddress,
): Promise<Pick<SshTarget, 'address' | 'port' | 'over'>> {
  const text = (await runOk(runner, {argv: ['ssh', '-G', ...destination(server)]})).toString()
  const value = (name: string) => new RegExp(`^${name} (.+)$`, 'm').exec(text)?.[1]
  const address = value('hostname') ?? server.host
  const port = Number(value('port') ?? 22)
  const [command, jump] = [value('proxycommand'), value('proxyjump')]
  if (command !== undefined && command !== 'none') {
    const tokens: Record<string, string> = {
      h: address,
      p: String(port),
      n: server.host,
      r: value('user') ?? '',
      '%': '%',
    }
    const filled = command.replace(/%(.)/g, (whole, token: string) => tokens[token] ?? whole)
    return {address, port, over: ['sh', '-c', `exec ${filled}`]}
  }
  if (jump === undefined || jump === 'none') return {address, port}
  const hops = jump.split(',')
  const last = hops.pop() ?? ''
  const to = address.includes(':') ? `[${address}]` : address
  const before = hops.length > 0 ? ['-J', hops.join(',')] : []
  const through = last.startsWith('ssh://') ? last : `ssh://${last}`
  return {
    address,
    port,
    over: ['ssh', '-o', 'StrictHostKeyChecking=yes', ...before, '-W', `${to}:${port}`, '--', through],
  }
}

/** IPv4 addresses at which the server is known from here; none when its name means nothing here. */
export async function knownAddresses(runner: Runner, server: SshAddress): Promise<string[]> {
  const {address} = await resolved(runner, server)
  const found = await lookup(address, {all: true, family: 4}).catch(() => [])
  return found.map((one) => one.address)
}

function destination({host, port}: SshAddress): string[] {
  return [...(port === undefined ? [] : ['-p', String(port)]), '--', host]
}

/** The project's own key pair, made once; the public key, one line. */
async function projectKey(files: ProjectFiles, id: string): Promise<string> {
  const there = await readIfThere(files.sshPublicKey)
  if (there !== undefined && (await readIfThere(files.sshKey)) !== undefined) return there.trim()
  const {privateKey, publicKey} = await newSshKey(`cage-${id}`)
  await writePrivate(files.sshKey, privateKey)
  await writePrivate(files.sshPublicKey, `${publicKey}\n`)
  return publicKey
}

function unfit({host}: SshAddress, why: string): CageError {
  return new CageError(`${host} cannot be used: ${why}`, {
    code: 'SERVER_UNFIT',
    exitCode: ExitCode.precondition,
    hints: ['Use a Debian or Ubuntu server with OpenSSH.'],
  })
}
