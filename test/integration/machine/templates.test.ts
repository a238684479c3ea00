import {spawnSync} from 'node:child_process'
import {mkdtempSync, readFileSync, rmSync, writeFileSync} from 'node:fs'
import {tmpdir} from 'node:os'
import {join, resolve} from 'node:path'
import {afterAll, beforeAll, describe, expect} from '@jest/globals'
import {itUnless} from '../../support/when.js'

const missing = (program: string) =>
  spawnSync(program, ['--version']).error === undefined ? undefined : `${program} is not installed`

// Vagrant's own objects, as far as the Vagrantfile touches them: every setting becomes one line `path=value`.
const recorder = `
class Recorder
  def initialize(path) = @path = path
  def method_missing(name, *args, **named, &block)
    path = [@path, name.to_s.delete_suffix('=')].reject(&:empty?).join('.')
    path = "#{path}[#{args.first}]" if %i[define provider network synced_folder disk].include?(name)
    puts "#{path}=#{(args + (named.empty? ? [] : [named])).inspect}" unless args.empty? && named.empty?
    child = Recorder.new(path)
    block.call(child) if block
    child
  end
  def respond_to_missing?(*) = true
end
module Vagrant
  def self.configure(_version) = yield(Recorder.new(''))
end
load ARGV.fetch(0)
`

describe('the static files of the virtual machine drivers', () => {
  const vagrantfile = resolve('Vagrantfile')
  const machine = resolve('test/golden/machine/vagrant.golden.json')
  let scratch: string
  beforeAll(() => {
    scratch = mkdtempSync(join(tmpdir(), 'cage-templates-'))
  })
  afterAll(() => rmSync(scratch, {force: true, recursive: true}))

  const evaluate = (env: NodeJS.ProcessEnv) => {
    writeFileSync(join(scratch, 'recorder.rb'), recorder)
    return spawnSync('ruby', [join(scratch, 'recorder.rb'), vagrantfile], {
      encoding: 'utf8',
      env: {...process.env, ...env},
    })
  }

  itUnless(missing('ruby'), 'the Vagrantfile is valid Ruby', () => {
    expect(spawnSync('ruby', ['-c', vagrantfile], {encoding: 'utf8'})).toMatchObject({status: 0})
  })

  itUnless(
    missing('ruby'),
    'the Vagrantfile takes its resources from machine.json and shares nothing',
    () => {
      const {status, stdout, stderr} = evaluate({CAGE_MACHINE: machine, VAGRANT_DEFAULT_PROVIDER: 'libvirt'})
      expect({status, stderr}).toEqual({status: 0, stderr: ''})
      const settings = stdout.split('\n')
      const wanted = [
        'vm.define[cage-shop-0a1b2c3d]=["cage-shop-0a1b2c3d"]',
        'vm.define[cage-shop-0a1b2c3d].ssh.forward_agent=[false]',
        'vm.define[cage-shop-0a1b2c3d].vm.provider[libvirt].cpus=[4]',
        'vm.define[cage-shop-0a1b2c3d].vm.provider[libvirt].driver=["kvm"]',
        'vm.define[cage-shop-0a1b2c3d].vm.provider[libvirt].memory=[8192]',
        'vm.define[cage-shop-0a1b2c3d].vm.provider[virtualbox].memory=[8192]',
        'vm.define[cage-shop-0a1b2c3d].vm.provider[qemu].memory=["8192M"]',
      ]
      expect(settings).toEqual(expect.arrayContaining(wanted))
      expect(stdout).toMatch(/synced_folder\[\.\]=\["\.", "\/vagrant", \{(:disabled=>|disabled: )true\}\]/)
      expect(stdout.match(/synced_folder/g)).toHaveLength(1)
      expect(stdout.match(/network\[/g)).toHaveLength(1)
      expect(stdout).toMatch(/host_ip(=>|: )"127\.0\.0\.1"/)
    },
  )

  itUnless(missing('ruby'), 'the box is pinned to a version, or is the person’s own file', () => {
    const env = {CAGE_MACHINE: machine, VAGRANT_DEFAULT_PROVIDER: 'libvirt'}
    const pinned = evaluate(env).stdout
    expect(pinned).toMatch(/vm\.box=\["cloud-image\/debian-13"\]/)
    expect(pinned).toMatch(/vm\.box_version=\["\d{8}\.\d+\.\d+"\]/)
    expect(pinned).toMatch(/vm\.box_check_update=\[false\]/)
    const own = join(scratch, 'own.json')
    const description = JSON.parse(readFileSync(machine, 'utf8')) as object
    writeFileSync(own, JSON.stringify({...description, box: {name: 'cage/own-1', file: '/boxes/mine.box'}}))
    const override = evaluate({...env, CAGE_MACHINE: own}).stdout
    expect(override).toMatch(/vm\.box=\["cage\/own-1"\]/)
    expect(override).toMatch(/vm\.box_url=\["file:\/\/\/boxes\/mine\.box"\]/)
    expect(override).not.toMatch(/box_version|cloud-image/)
  })

  itUnless(
    missing('ruby'),
    'without machine.json, or with one of another version, Vagrant stops with a reason',
    () => {
      const bare = {...process.env, CAGE_MACHINE: undefined}
      writeFileSync(join(scratch, 'recorder.rb'), recorder)
      const none = spawnSync('ruby', [join(scratch, 'recorder.rb'), vagrantfile], {
        encoding: 'utf8',
        env: bare,
      })
      expect(none.status).not.toBe(0)
      expect(none.stderr).toMatch(/CAGE_MACHINE must name the machine\.json/)
      const other = join(scratch, 'other.json')
      writeFileSync(other, '{"version": 2}')
      expect(evaluate({CAGE_MACHINE: other}).stderr).toMatch(/version 2 is not known here/)
    },
  )

  itUnless(missing('vagrant'), 'vagrant accepts the Vagrantfile', () => {
    const env = {
      ...process.env,
      CAGE_MACHINE: machine,
      VAGRANT_CWD: resolve('.'),
      VAGRANT_HOME: join(scratch, 'vagrant'),
      VAGRANT_DOTFILE_PATH: join(scratch, 'dot'),
    }
    const {status, stdout, stderr} = spawnSync('vagrant', ['validate', '--ignore-provider'], {
      encoding: 'utf8',
      env,
    })
    expect({status, stdout, stderr}).toMatchObject({status: 0})
  })

  itUnless(missing('limactl'), 'limactl accepts the rendered lima.yaml', () => {
    const env = {...process.env, LIMA_HOME: join(scratch, 'lima')}
    const golden = resolve('test/golden/machine/lima.golden.yaml')
    expect(spawnSync('limactl', ['validate', golden], {encoding: 'utf8', env})).toMatchObject({status: 0})
  })
})
