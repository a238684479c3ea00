import {spawn, spawnSync} from 'node:child_process'
import {copyFileSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync} from 'node:fs'
import {join, resolve} from 'node:path'
import {afterAll, beforeAll, describe, expect} from '@jest/globals'
import {noSshd, startSshd, type TestSshd} from '../support/sshd.js'
import {itUnless} from '../support/when.js'
import {Server} from './server.js'
import {installed, World} from './world.js'

interface Up {
  machine: {driver: string; state: string}
  cluster: {ready: boolean}
  steps: {name: string; seconds: number; changed: boolean}[]
}

const obstacle =
  noSshd ?? (installed('mmdebstrap') ? undefined : 'mmdebstrap makes the server and is missing')
const number = process.pid % 50
const machine = (host: string) => `{ driver: ssh, ssh: { host: ${host} }, memory: 6GiB, disk: 30GiB }`

describe('ssh: a project on a server', () => {
  const test = (name: string, body: () => Promise<void>) => itUnless(obstacle, `ssh: ${name}`, body)
  const seconds: Record<string, number> = {}
  let world: World
  let gate: TestSshd
  let server: Server
  let before = ''
  let id = ''

  beforeAll(async () => {
    if (obstacle !== undefined) return
    world = new World(machine('behind'), 'server')
    gate = await startSshd()
    server = new Server(join(world.scratch, 'server'), gate, world.env)
    server.boot(number)
  })
  afterAll(async () => {
    if (obstacle !== undefined) return
    await world.cage('destroy', '--confirm', 'shop')
    server.powerOff()
    await gate.stop()
    const columns = ['boot', 'no-op', 'resume'].map((name) => `${seconds[name] ?? '-'} s`)
    process.stderr.write(`\n| driver | first up | up no-op | resume |\n| ssh | ${columns.join(' | ')} |\n`)
    world.remove()
  })

  const up = () => world.json<Up>('up')
  const timed = async (name: string): Promise<Up> => {
    const begun = Date.now()
    const result = await up()
    seconds[name] = Math.round((Date.now() - begun) / 100) / 10
    return result
  }
  const changed = ({steps}: Up) => steps.filter((step) => step.changed).map(({name}) => name)
  const inTask = (script: string) => world.ok('task', 'exec', 'first', '--', 'bash', '-c', script)
  const onNode = (script: string) => world.cage('machine', 'ssh', '--', 'bash', '-c', script)
  const nothingOfCage = () => {
    const left = server.run('cat .ssh/authorized_keys; sudo ls -d /var/lib/cage 2>/dev/null')
    expect(left).toMatch(/^ssh-ed25519 \S+ person$/)
  }

  test('an unknown host key stops before anything is sent', async () => {
    const {code, stderr} = await world.cage('up')
    expect({code, stderr}).toEqual({code: 3, stderr: expect.stringContaining('compare the fingerprint')})
    server.trust()
    nothingOfCage()
  })

  test('a user who may not use sudo, or only with a password, is told so', async () => {
    server.run(`for user in nosudo asks; do
      sudo useradd --create-home --shell /bin/bash $user
      sudo install -d -o $user -m 700 /home/$user/.ssh
      sudo install -o $user -m 600 .ssh/authorized_keys /home/$user/.ssh/authorized_keys
    done; echo 'asks ALL=(ALL) ALL' | sudo tee /etc/sudoers.d/asks`)
    for (const user of ['nosudo', 'asks']) {
      world.settle(machine(`${user}@behind`))
      const {code, stderr} = await world.cage('up')
      expect({code, stderr}).toEqual({code: 3, stderr: expect.stringContaining('sudoers.d')})
      expect(server.run(`sudo cat /home/${user}/.ssh/authorized_keys`)).toMatch(/^ssh-ed25519 \S+ person$/)
    }
    server.run('sudo rm /etc/sudoers.d/asks; sudo userdel -r asks; sudo userdel -r nosudo')
    world.settle(machine('behind'))
  })

  test('a server that is too small, or not Debian, is told so, and nothing stays there', async () => {
    const instead = async (path: string, cover: string, uncover: string) => {
      server.run(cover)
      const {code, stderr} = await world.cage('up')
      server.run(`${uncover}; sudo umount ${path}`)
      nothingOfCage()
      return {code, stderr}
    }
    const bound = (path: string, text: string) =>
      instead(path, `echo ${text} >/tmp/other; sudo mount --bind /tmp/other ${path}`, 'rm -f /tmp/other')
    expect(await instead('/var/lib', 'sudo mount -t tmpfs -o size=1g small /var/lib', 'true')).toEqual({
      code: 3,
      stderr: expect.stringMatching(/free space at \/var\/lib \([01] GiB\)[^]*Free 15 GiB on the server/),
    })
    expect(await bound('/proc/meminfo', 'MemTotal: 1000000 kB')).toEqual({
      code: 3,
      stderr: expect.stringMatching(/memory \(976 MiB\)[^]*4 GiB of memory/),
    })
    expect(await bound('/etc/os-release', 'ID=alpine')).toEqual({
      code: 3,
      stderr: expect.stringContaining('Debian or Ubuntu'),
    })
    before = server.footprint()
    expect(before).toContain('/etc/passwd')
  })

  test('Ctrl-C while it copies: the next up goes on where it stopped', async () => {
    const child = spawn(process.execPath, [resolve('bin/cage'), 'up'], {
      cwd: world.repository,
      env: world.env,
      stdio: 'ignore',
    })
    const ended = new Promise<number | null>((next) => child.once('close', next))
    const partial = () => server.run('sudo sh -c "stat -c %s /var/lib/cage/layers/*.partial 2>/dev/null"')
    while (child.exitCode === null && !(Number(partial()) > 1_000_000)) {
      await new Promise((next) => setTimeout(next, 100))
    }
    child.kill('SIGINT')
    expect(await ended).toBe(130)
    expect(Number(partial())).toBeGreaterThan(1_000_000)
  })

  test('up makes the node on the server and the cluster in it, all of it through a jump host', async () => {
    const made = await timed('boot')
    expect(made).toMatchObject({machine: {driver: 'ssh', state: 'running'}, cluster: {ready: true}})
    expect(server.run('command -v slirp4netns ip || echo none')).toBe('none')
    id = readdirSync(world.state()).find((name) => /^shop-[0-9a-f]{8}$/.test(name)) ?? ''
  })

  test('a task works, pushes, and its branch comes home', async () => {
    await world.ok('task', 'new', 'first', '--agent', 'shell')
    await inTask(
      'echo from the server >SERVER && git add SERVER && git commit -qm "From the server" && git push -q',
    )
    const {code, stderr} = await world.run('git', ['fetch', '-q', 'cage'])
    expect({code, stderr}).toEqual({code: 0, stderr: ''})
    expect((await world.run('git', ['show', 'cage/first:SERVER'])).stdout).toBe('from the server\n')
    await inTask('echo kept >unpushed')
  })

  test('another way to the same server is taken as soon as the settings name it', async () => {
    await gate.stop()
    const {code, stderr} = await onNode('true')
    expect(code).not.toBe(0)
    expect(stderr).toContain('127.0.0.1')
    world.settle(machine('server'))
    await up()
    expect((await onNode('true')).code).toBe(0)
  })

  test('up has nothing to do the second time', async () => {
    expect(changed(await timed('no-op'))).toEqual([])
  })

  test('pods reach neither the server, its network nor its metadata service', async () => {
    await server.metadata()
    const read = 'exec 3<>/dev/tcp/169.254.169.254/80; printf "GET / HTTP/1.0\\r\\n\\r\\n" >&3; cat <&3'
    expect((await onNode(read)).stdout).toContain('role-credentials')
    const targets = ['169.254.169.254:80', `${server.address}:22`, '10.0.2.2:22', '10.0.2.3:53']
    const {stdout} = await onNode(`/usr/local/lib/cage/lookout.sh ${targets.join(' ')}`)
    expect(stdout.trim()).toBe('10.0.2.3:53')
  })

  test('down stops it, up brings it back with the task and what it had not pushed', async () => {
    await world.ok('down')
    expect(
      server.run('sudo sh -c "cat /proc/[0-9]*/comm" | grep -cE "containerd|kubelet|etcd" || true'),
    ).toBe('0')
    await timed('resume')
    expect(await inTask('cat unpushed')).toBe('kept\n')
  })

  test('a server that lost its power and came back at another address', async () => {
    server.powerOff()
    const {code, stderr} = await world.cage('task', 'list')
    expect(code).not.toBe(0)
    expect(stderr).toContain('192.168.')
    server.boot(number + 1)
    await up()
    expect(await inTask('cat unpushed')).toBe('kept\n')
    const {stdout} = await onNode('nft list table inet cage')
    expect(stdout).toContain(server.address)
    expect(changed(await up())).toEqual([])
  })

  test('a disk that takes no more writes is mended by a start', async () => {
    const {stdout} = await onNode('findmnt --noheadings --output SOURCE /var/lib/etcd')
    const device = /loop\d+/.exec(stdout)?.[0] ?? ''
    writeFileSync(`/sys/fs/ext4/${device}/trigger_fs_error`, 'a write that was lost')
    expect((await onNode('touch /var/lib/etcd/file')).stderr).toContain('Read-only file system')
    expect(changed(await up())).toContain('machine')
    expect(await inTask('cat unpushed')).toBe('kept\n')
  })

  test('certificates that ended are renewed', async () => {
    const ended = await onNode(`set -e
      cd /etc/kubernetes
      sed 's/^certificateValidityPeriod: .*/certificateValidityPeriod: 20s/' cage/kubeadm.yaml >/tmp/short.yaml
      kubeadm certs renew all --config /tmp/short.yaml
      rm -rf kubelet.conf /var/lib/kubelet/pki
      kubeadm init phase kubeconfig kubelet --config /tmp/short.yaml
      sleep 25
      sv force-stop /run/sv/kubelet
      pkill -KILL -x kube-apiserver
      sv up /run/sv/kubelet
      kubectl get nodes 2>&1 || true`)
    expect(ended.stdout).toMatch(/refused|expired|[Uu]nauthorized|provide credentials/)
    expect(changed(await up())).toContain('cluster')
    expect((await onNode('kubeadm certs check-expiration | grep -c " 9y "')).stdout.trim()).toMatch(/^1\d$/)
    expect(await inTask('cat unpushed')).toBe('kept\n')
  })

  test('the state on this computer may be lost: up finds the machine and its tasks again', async () => {
    server.trust()
    rmSync(world.state(id), {recursive: true})
    await up()
    expect(await world.ok('task', 'list')).toContain('first')
    expect(server.run('grep -c cage- .ssh/authorized_keys')).toBe('1')
  })

  test('another computer’s project of the same name is not touched', async () => {
    const owner = `/var/lib/cage/${id}/owner`
    server.run(`sudo cp ${owner} /tmp/owner; echo you@elsewhere:/src/shop | sudo tee ${owner}`)
    const home = world.env['XDG_STATE_HOME']
    world.env['XDG_STATE_HOME'] = join(world.scratch, 'other-state')
    const {code, stderr} = await world.cage('up')
    world.env['XDG_STATE_HOME'] = home
    server.run(`sudo mv /tmp/owner ${owner}`)
    expect({code, stderr}).toEqual({code: 3, stderr: expect.stringContaining('you@elsewhere:/src/shop')})
    expect(server.run('grep -c cage- .ssh/authorized_keys')).toBe('1')
    expect(await world.ok('task', 'list')).toContain('first')
  })

  test('a server that shows another host key is told nothing', async () => {
    const pinned = world.state(id, 'ssh', 'known_hosts')
    copyFileSync(pinned, `${pinned}.kept`)
    const other = join(world.scratch, 'other')
    expect(spawnSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', other]).status).toBe(0)
    writeFileSync(pinned, `cage-${id} ${readFileSync(`${other}.pub`, 'utf8')}`)
    expect(await world.cage('up')).toMatchObject({code: 4, stderr: expect.stringContaining('host key')})
    copyFileSync(`${pinned}.kept`, pinned)
  })

  test('destroy leaves nothing on the server and nothing here', async () => {
    await world.ok('destroy', '--confirm', 'shop')
    expect(server.footprint()).toBe(before)
    const left = (program: string, ...args: string[]) => spawnSync(program, args, {encoding: 'utf8'}).stdout
    expect(left('find', '/sys/fs/cgroup', '-name', `cage-${id}`)).toBe('')
    expect(left('losetup', '-a')).not.toContain(world.scratch)
    const state = existsSync(world.state()) ? readdirSync(world.state()) : []
    expect(state.filter((name) => !name.startsWith('.'))).toEqual([])
  })
})
