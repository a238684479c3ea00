import {spawnSync} from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import {tmpdir} from 'node:os'
import {dirname, join, resolve} from 'node:path'
import {afterEach, beforeEach, describe, expect} from '@jest/globals'
import {itUnless} from '../../support/when.js'

const MIB = 1024 ** 2
const obstacle =
  process.getuid?.() === 0
    ? spawnSync('losetup', ['--find']).status === 0
      ? undefined
      : 'no loop device is free'
    : 'a guest’s disk is mounted as root'
const id = 'base-0123456789abcdef'
const secret = 'SECRETofThisGuest'

/** The tree of a guest as it is after a boot by cage; its programs are this computer's. */
let guest: string
const at = (path: string) => join(guest, path)
const put = (path: string, content = '') => {
  mkdirSync(dirname(at(path)), {recursive: true})
  writeFileSync(at(path), content)
}

beforeEach(() => {
  guest = mkdtempSync(join(tmpdir(), 'cage-guest-'))
  for (const path of [
    'etc/ssh/cage_host_key',
    'etc/ssh/cage_authorized_keys',
    'etc/ssh/ssh_host_ed25519_key',
  ])
    put(path, secret)
  put('etc/ssh/sshd_config.d/00-cage.conf', `HostKey ${secret}`)
  put('etc/machine-id', secret)
  put('etc/hostname', `cage-${id}`)
  put('etc/hosts', `127.0.0.1 localhost\n127.0.1.1 cage-${id}\n`)
  put('etc/cage/project', id)
  put('etc/passwd', 'root:x:0:0::/root:/bin/sh\nvagrant:x:1000:1000::/home/vagrant:/bin/sh\n')
  put('home/vagrant/.ssh/authorized_keys', `ssh-rsa ${secret}`)
  put('var/log/journal/0123/system.journal', secret)
  put(`var/lib/cage/${id}/machine/node.log`, secret)
  put(`var/lib/cage/${id}/machine/etcd.img`, secret)
  put(`var/lib/cage/layers/${'a'.repeat(64)}/usr/bin/kubelet`, 'program')
  const disk = at(`var/lib/cage/${id}/machine/disk.img`)
  put(`var/lib/cage/${id}/machine/disk.img`)
  truncateSync(disk, 16 * MIB)
  const mounted = at('mounted')
  mkdirSync(mounted)
  run('sh', [
    '-euc',
    `mkfs.ext4 -qF "$1"; mount -o loop "$1" "$2"; mkdir "$2/containerd" "$2/kubelet"; echo image >"$2/containerd/image"
     echo ${secret} >"$2/kubelet/secret"; umount "$2"`,
    'sh',
    disk,
    mounted,
  ])
})
afterEach(() => rmSync(guest, {recursive: true, force: true}))

function run(program: string, args: string[], env: NodeJS.ProcessEnv = {}): string {
  const {status, stdout, stderr} = spawnSync(program, args, {encoding: 'utf8', env: {...process.env, ...env}})
  if (status !== 0) throw new Error(`${program}: exit code ${status}\n${stdout}\n${stderr}`)
  return stdout
}

/** In a mount namespace where the guest's own folders lie over this computer's, and its services are only written down. */
function seal(...args: string[]): void {
  put('bin/recorded', '#!/bin/sh\necho "${0##*/} $*" >>/run/asked\n')
  put('bin/fstrim', `#!/bin/sh\n[ "$1" = / ] || exec ${at('bin/real')} "$@"\n`)
  const script = `mount --make-rprivate /
    for d in etc home var/log var/lib run; do mkdir -p "$1/$d"; mount --bind "$1/$d" "/$d"; done
    cp "$(command -v fstrim)" "$1/bin/real"; chmod +x "$1"/bin/*
    mount --bind "$1/bin/fstrim" "$(command -v fstrim)"
    for p in /usr/bin/systemctl /usr/bin/systemd-run; do if [ -e $p ]; then mount --bind "$1/bin/recorded" $p; fi; done
    shift; exec "$@"`
  run('unshare', [
    '--mount',
    'sh',
    '-euc',
    script,
    'sh',
    guest,
    resolve('provision/guest/vm/seal.sh'),
    ...args,
  ])
}

describe('a guest whose disk becomes a base', () => {
  itUnless(obstacle, 'keeps layers and container images, and nothing of its own', () => {
    seal(id, 'vagrant', 'ssh-rsa AAAAknown')
    expect(spawnSync('grep', ['-rl', secret, guest], {encoding: 'utf8'}).stdout).toBe('')
    expect(readdirSync(at('var/lib/cage')).sort()).toEqual(['layers', 'seed'])
    expect(readFileSync(at('home/vagrant/.ssh/authorized_keys'), 'utf8')).toBe('ssh-rsa AAAAknown\n')
    expect(readFileSync(at('etc/machine-id'), 'utf8')).toBe('')
    expect(readFileSync(at('etc/hosts'), 'utf8')).toBe('127.0.0.1 localhost\n')
    expect(existsSync(at('etc/ssh/sshd_config.d/00-cage.conf'))).toBe(false)
    expect(readFileSync(at('etc/systemd/system/ssh.service.d/50-cage.conf'), 'utf8')).toContain(
      'ssh-keygen -A',
    )
    const listed = run('debugfs', ['-R', 'ls -p /', at('var/lib/cage/seed/disk.img')])
    expect([...listed.matchAll(/\/([\w+]+)\/[^/]*\/$/gm)].map(([, name]) => name).sort()).toEqual([
      'containerd',
      'lost+found',
    ])
    expect(readFileSync(at('run/asked'), 'utf8')).toContain('systemctl poweroff')
  })

  itUnless(obstacle, 'is sealed by repeating what was cut off', () => {
    seal(id)
    seal(id)
    expect(readdirSync(at('var/lib/cage')).sort()).toEqual(['layers', 'seed'])
  })

  itUnless(obstacle, 'gives its container images to the next node, whose disk may be larger', () => {
    seal(id)
    const node = at('var/lib/cage/shop-0a1b2c3d/machine')
    const disks = () =>
      run(resolve('provision/guest/node/disks.sh'), [`disk.img:${32 * MIB}`, `volumes.img:${8 * MIB}`], {
        CAGE_NODE_DIR: node,
        PATH: `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin`,
      })
    disks()
    expect(existsSync(at('var/lib/cage/seed/disk.img'))).toBe(false)
    expect(statSync(join(node, 'disk.img'))).toMatchObject({size: 32 * MIB})
    expect(statSync(join(node, 'disk.img')).mode & 0o777).toBe(0o600)
    run('e2fsck', ['-fn', join(node, 'disk.img')])
    expect(run('debugfs', ['-R', 'cat /containerd/image', join(node, 'disk.img')])).toBe('image\n')
    disks()
    expect(run('debugfs', ['-R', 'cat /containerd/image', join(node, 'disk.img')])).toBe('image\n')
  })
})
