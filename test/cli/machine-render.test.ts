import {execFileSync} from 'node:child_process'
import {chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync} from 'node:fs'
import {tmpdir} from 'node:os'
import {join, resolve} from 'node:path'
import {afterEach, beforeEach, describe, expect} from '@jest/globals'
import {parse} from 'yaml'
import {processRunner} from '../../core/process.js'
import {itUnless} from '../support/when.js'

let root = ''
let repository = ''
const unbuilt = existsSync('dist') ? undefined : 'cage is not built (npm run build)'

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'cage-render-'))
  repository = join(root, 'shop')
  for (const folder of ['shop', 'config/cage', 'bin']) mkdirSync(join(root, folder), {recursive: true})
  execFileSync('git', ['init', '-q', repository])
})
afterEach(() => {
  rmSync(root, {recursive: true})
})

const operator = (text: string) =>
  writeFileSync(
    join(root, 'config/cage/config.yaml'),
    `projects:\n  shop:\n    ${text.trim().replaceAll('\n', '\n    ')}\n`,
  )
function program(name: string, text: string): void {
  writeFileSync(join(root, 'bin', name), `#!/bin/sh\n${text}\n`)
  chmodSync(join(root, 'bin', name), 0o755)
}

/** The CLI itself, with the programs of this test before those of the computer. */
async function render(...args: string[]): Promise<{stdout: string; stderr: string}> {
  const env = {
    HOME: root,
    PATH: `${join(root, 'bin')}:${process.env['PATH'] ?? ''}`,
    XDG_STATE_HOME: join(root, 'state'),
    XDG_CONFIG_HOME: join(root, 'config'),
    XDG_CACHE_HOME: join(root, 'cache'),
  }
  const argv = [resolve('bin/cage'), 'machine', 'render', ...args, '-C', repository] as const
  const {code, stdout, stderr} = await processRunner.run({argv, env})
  if (code !== 0) throw new Error(stderr)
  return {stdout: stdout.toString(), stderr}
}

describe('cage machine render', () => {
  itUnless(unbuilt, 'prints what the driver of the settings would get, and writes nothing', async () => {
    operator('machine: {driver: lima, cpus: 6, memory: 10GiB, disk: 80GiB}\ncluster: {kind: kubeadm}\n')
    const {stdout} = await render()
    expect(parse(stdout)).toMatchObject({
      cpus: 6,
      memory: '10GiB',
      disk: '80GiB',
      mounts: [],
      plain: true,
      images: [{digest: expect.stringMatching(/^sha512:/)}, {digest: expect.stringMatching(/^sha512:/)}],
    })
    expect(stdout).not.toMatch(/PRIVATE KEY/)
    expect(existsSync(join(root, 'state'))).toBe(false)
  })

  itUnless(unbuilt, 'prints the driver that `auto` takes here', async () => {
    operator('machine: {driver: auto}\ncluster: {kind: kubeadm}\n')
    program('qemu-system-x86_64', 'cat >/dev/null; echo "VM status: running"')
    program('qemu-system-aarch64', 'cat >/dev/null; echo "VM status: running"')
    program('limactl', 'echo limactl version 1.0.0')
    program(
      'vagrant',
      'case "$*" in --version) echo Vagrant 2.4.1 ;; *) echo "vagrant-libvirt (0.12.2, global)" ;; esac',
    )
    program('virsh', 'exit 0')
    const {stdout} = await render()
    expect(JSON.parse(stdout)).toMatchObject({version: 1, emulated: false, project: 'shop'})
  })

  itUnless(unbuilt, 'says that a guest would be emulated, as the start would', async () => {
    operator('machine: {driver: vagrant}\ncluster: {kind: kubeadm}\n')
    for (const qemu of ['qemu-system-x86_64', 'qemu-system-aarch64']) program(qemu, 'exit 1')
    program(
      'vagrant',
      'case "$*" in --version) echo Vagrant 2.4.1 ;; *) echo "vagrant-libvirt (0.12.2, global)" ;; esac',
    )
    program('virsh', 'exit 0')
    expect(JSON.parse((await render()).stdout)).toMatchObject({emulated: true})
  })

  itUnless(unbuilt, 'prints a disk image or box of the person’s own in place of the pinned one', async () => {
    const image = join(root, 'own.box')
    writeFileSync(image, 'box')
    operator(`machine: {driver: vagrant, image: ${image}}\ncluster: {kind: kubeadm}\n`)
    program('vagrant', 'echo')
    expect(JSON.parse((await render()).stdout)).toMatchObject({
      box: {name: expect.stringMatching(/^cage\/own-[0-9a-f]{12}$/), file: image},
    })
    expect(parse((await render('--driver', 'lima')).stdout)).toMatchObject({images: [{location: image}]})
  })

  itUnless(unbuilt, 'names a box that is not there', async () => {
    operator('machine: {driver: vagrant, image: /nowhere/own.box}\ncluster: {kind: kubeadm}\n')
    program('vagrant', 'echo')
    await expect(render()).rejects.toThrow('/nowhere/own.box is not there')
  })

  itUnless(unbuilt, 'prints the server that `ssh` goes to, and the cluster', async () => {
    operator('machine: {driver: ssh, ssh: {host: me@build.example, port: 2222}}\n')
    expect(JSON.parse((await render()).stdout)).toMatchObject({
      driver: 'ssh',
      cluster: 'kubeadm',
      ssh: {host: 'me@build.example', port: 2222},
    })
  })

  itUnless(unbuilt, 'prints the machine that was made, whatever the settings became', async () => {
    operator('machine: {driver: local}\n')
    const first = JSON.parse((await render()).stdout) as {id: string}
    const record = {...first, driver: 'lima', sshPort: 50_123, cpus: 3, cluster: 'microk8s'}
    mkdirSync(join(root, 'state/cage', first.id), {recursive: true})
    writeFileSync(join(root, 'state/cage', first.id, 'machine.json'), JSON.stringify(record))
    expect(parse((await render()).stdout)).toMatchObject({cpus: 3, ssh: {localPort: 50_123}})
    expect(readFileSync(join(root, 'state/cage', first.id, 'machine.json'), 'utf8')).toBe(
      JSON.stringify(record),
    )
  })
})
