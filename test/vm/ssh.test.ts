import {spawn, spawnSync} from 'node:child_process'
import {
  appendFileSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import {homedir, tmpdir} from 'node:os'
import {join, resolve} from 'node:path'
import {afterAll, beforeAll, describe, expect} from '@jest/globals'
import {noSshd} from '../support/sshd.js'
import {itUnless} from '../support/when.js'

interface Up {
  machine: {driver: string; state: string}
  cluster: {ready: boolean}
  steps: {name: string; seconds: number; changed: boolean}[]
}

const scratch = mkdtempSync(join(process.env['CAGE_TEST_SCRATCH'] ?? tmpdir(), 'cage-server-'))
const repository = join(scratch, 'shop')
const server = join(scratch, 'server')
const state = join(scratch, 'state')
const env: NodeJS.ProcessEnv = {
  ...process.env,
  XDG_CACHE_HOME: process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'),
  XDG_STATE_HOME: state,
  XDG_CONFIG_HOME: join(scratch, 'config'),
  // The person's `ssh` has a configuration of its own: the server is known as `server`.
  PATH: `${server}:${resolve('bin')}:${process.env['PATH'] ?? ''}`,
}
const obstacle =
  noSshd ??
  (spawnSync('mmdebstrap', ['--version']).status === 0
    ? undefined
    : 'mmdebstrap makes the server and is missing')

function cage(...args: string[]): Promise<{code: number; stdout: string; stderr: string}> {
  return new Promise((done, failed) => {
    const child = spawn(process.execPath, [resolve('bin/cage'), ...args], {
      cwd: repository,
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const said = {stdout: '', stderr: ''}
    for (const stream of ['stdout', 'stderr'] as const)
      child[stream].on('data', (chunk: Buffer) => (said[stream] += chunk.toString()))
    child.on('error', failed)
    child.on('close', (code) => done({code: code ?? -1, ...said}))
  })
}
async function ok(...args: string[]): Promise<string> {
  const {code, stdout, stderr} = await cage(...args)
  if (code !== 0) throw new Error(`cage ${args.join(' ')} exited with ${code}\n${stdout}\n${stderr}`)
  return stdout
}
const up = async () => JSON.parse(await ok('up', '--json')) as Up
const inTask = (script: string) => ok('task', 'exec', 'first', '--', 'bash', '-c', script)
/** As the person on the server, through their own ssh. */
const onServer = (script: string) =>
  spawnSync(join(server, 'ssh'), ['server', script], {encoding: 'utf8'}).stdout.trim()
/** What the server holds and runs, as far as cage could have changed it. */
const footprint = () =>
  onServer(`sudo sh -c '
    ls -d /var/lib/cage 2>/dev/null; cat /home/me/.ssh/authorized_keys; ls -A /root /home/me /home/me/.ssh /etc /usr/bin
    cat /proc/mounts; cat /proc/net/dev | cut -d: -f1; for p in /proc/[0-9]*; do tr "\\0" " " <$p/cmdline | grep -aE "containerd|kube|runsv|slirp"; done
    true' 2>/dev/null`)

describe('ssh: a project on a server', () => {
  const test = (name: string, body: () => Promise<void>) => itUnless(obstacle, `ssh: ${name}`, body)
  let before = ''
  const seconds: Record<string, number> = {}
  const timed = async <T>(name: string, work: () => Promise<T>): Promise<T> => {
    const begun = Date.now()
    const result = await work()
    seconds[name] = Math.round((Date.now() - begun) / 100) / 10
    return result
  }

  beforeAll(() => {
    if (obstacle !== undefined) return
    const made = spawnSync('test/vm/server.sh', ['start', server, String(process.pid % 50)], {
      encoding: 'utf8',
      env,
    })
    if (made.status !== 0) throw new Error(`no server: ${made.stderr.slice(-2000)}`)
    mkdirSync(join(scratch, 'config', 'cage'), {recursive: true})
    writeFileSync(
      join(scratch, 'config', 'cage', 'config.yaml'),
      'version: 1\ndefaults: { machine: { driver: ssh, ssh: { host: server }, memory: 6GiB, disk: 30GiB } }\n',
    )
    mkdirSync(repository)
    const script = 'git init -q -b main && git fast-import --quiet <"$1" && git reset -q --hard main'
    const history = spawnSync('bash', ['-c', script, 'bash', resolve('examples/shop.history')], {
      cwd: repository,
    })
    if (history.status !== 0) throw new Error(history.stderr.toString())
  })
  afterAll(async () => {
    if (obstacle === undefined && existsSync(repository)) {
      await cage('destroy', '--confirm', 'shop')
      spawnSync('test/vm/server.sh', ['stop', server], {env})
      const columns = ['boot', 'no-op', 'resume'].map((name) => `${seconds[name] ?? '-'} s`)
      process.stderr.write(`\n| driver | first up | up no-op | resume |\n| ssh | ${columns.join(' | ')} |\n`)
    }
    rmSync(scratch, {recursive: true, force: true})
  })

  test('an unknown host key stops before anything is sent', async () => {
    const {code, stderr} = await cage('up')
    expect({code, stderr}).toEqual({code: 3, stderr: expect.stringContaining('compare the fingerprint')})
    copyFileSync(join(server, 'scanned'), join(server, 'known_hosts'))
    before = footprint()
    expect(before).toContain('ssh-ed25519')
    expect(before).not.toMatch(/ cage-shop|\/var\/lib\/cage/)
  })

  test('up makes the node on the server and the cluster in it', async () => {
    const made = await timed('boot', up)
    expect(made).toMatchObject({machine: {driver: 'ssh', state: 'running'}, cluster: {ready: true}})
    expect(onServer('command -v slirp4netns ip pgrep || echo none')).toBe('none')
  })

  test('up has nothing to do the second time', async () => {
    const {steps} = await timed('no-op', up)
    expect(steps.filter(({changed}) => changed)).toEqual([])
  })

  test('pods reach neither the server, its network nor its metadata service', async () => {
    const address = spawnSync(join(server, 'ssh'), ['-G', 'server'], {encoding: 'utf8'}).stdout
    const host = /^hostname (.+)$/m.exec(address)?.[1] ?? ''
    const rules = (await cage('machine', 'ssh', '--', 'nft', 'list', 'table', 'inet', 'cage')).stdout
    expect(rules).toContain('169.254.0.0/16')
    expect(rules).toContain(host)
  })

  test('a task works, pushes, and its branch comes home', async () => {
    await ok('task', 'new', 'first', '--agent', 'shell')
    await inTask(
      'echo from the server >SERVER && git add SERVER && git commit -qm "From the server" && git push -q',
    )
    const {status, stderr} = spawnSync('git', ['fetch', '-q', 'cage'], {
      cwd: repository,
      env,
      encoding: 'utf8',
    })
    expect({status, stderr}).toEqual({status: 0, stderr: ''})
    const shown = spawnSync('git', ['show', 'cage/first:SERVER'], {cwd: repository, encoding: 'utf8'})
    expect(shown.stdout).toBe('from the server\n')
  })

  test('down stops it, up brings it back with the task and what it had not pushed', async () => {
    await inTask('echo kept >unpushed')
    await ok('down')
    expect(onServer('sudo sh -c "cat /proc/[0-9]*/comm" | grep -cE "containerd|kubelet|etcd" || true')).toBe(
      '0',
    )
    await timed('resume', up)
    await ok('task', 'start', 'first').catch(() => '')
    expect(await inTask('cat unpushed')).toBe('kept\n')
  })

  test('the state on this computer may be lost: up finds the machine and its tasks again', async () => {
    const id = readdirSync(join(state, 'cage')).find((name) => /^shop-[0-9a-f]{8}$/.test(name)) ?? ''
    rmSync(join(state, 'cage', id), {recursive: true})
    await up()
    expect(await ok('task', 'list')).toContain('first')
    expect(onServer('grep -c cage- .ssh/authorized_keys')).toBe('1')
  })

  test('another computer’s project of the same name is not touched', async () => {
    const id = readdirSync(join(state, 'cage')).find((name) => /^shop-[0-9a-f]{8}$/.test(name)) ?? ''
    const owner = `/var/lib/cage/${id}/owner`
    onServer(`sudo cp ${owner} /tmp/owner; echo you@elsewhere:/src/shop | sudo tee ${owner}`)
    const other = join(scratch, 'other-state')
    env['XDG_STATE_HOME'] = other
    const {code, stderr} = await cage('up')
    env['XDG_STATE_HOME'] = state
    onServer(`sudo mv /tmp/owner ${owner}`)
    expect({code, stderr}).toEqual({code: 3, stderr: expect.stringContaining('you@elsewhere:/src/shop')})
    expect(onServer('grep -c cage- .ssh/authorized_keys')).toBe('1')
    expect(await ok('task', 'list')).toContain('first')
  })

  test('a server that shows another host key is told nothing', async () => {
    const id = readdirSync(join(state, 'cage')).find((name) => /^shop-[0-9a-f]{8}$/.test(name)) ?? ''
    const file = join(state, 'cage', id, 'ssh', 'known_hosts')
    copyFileSync(file, `${file}.kept`)
    const other = spawnSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', join(scratch, 'other')])
    expect(other.status).toBe(0)
    rmSync(file)
    appendFileSync(
      file,
      `cage-${id} ${spawnSync('cat', [join(scratch, 'other.pub')], {encoding: 'utf8'}).stdout}`,
    )
    expect(await cage('up')).toMatchObject({code: 4, stderr: expect.stringContaining('host key')})
    copyFileSync(`${file}.kept`, file)
  })

  test('destroy leaves nothing on the server and nothing here', async () => {
    await ok('destroy', '--confirm', 'shop')
    expect(footprint()).toBe(before)
    expect(
      existsSync(join(state, 'cage'))
        ? readdirSync(join(state, 'cage')).filter((name) => !name.startsWith('.'))
        : [],
    ).toEqual([])
  })
})
