import {statfs} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {describe, expect, it} from '@jest/globals'
import {demandAll, doctorChecks, type DoctorOptions} from '../../../provision/doctor.js'
import {FakeRunner} from '../../support/fake-runner.js'

function options(missing: readonly string[], over: Partial<DoctorOptions> = {}): DoctorOptions {
  const runner = new FakeRunner()
  runner.answer = ({argv}) => {
    if (argv.some((word) => word.includes('go env'))) {
      return missing.includes('go') ? {code: 1} : {stdout: 'go1.26.8\n'}
    }
    const program = argv.at(-1) ?? ''
    return missing.includes(program) ? {code: 1} : {stdout: `/usr/bin/${program}\n`}
  }
  return {
    runner,
    driver: 'local',
    uid: 0,
    platform: 'linux',
    arch: 'x64',
    vagrantHome: '/state/cage/.vagrant',
    nodeVersion: 'v20.19.0',
    stateHome: join(tmpdir(), 'not', 'there', 'yet'),
    cacheHome: tmpdir(),
    compiled: false,
    ...over,
  }
}
const failing = async (from: DoctorOptions) =>
  (await doctorChecks(from)).filter(({ok, required}) => !ok && required).map(({name}) => name)

describe('what cage needs on this computer', () => {
  it('names every missing program with the command that installs it', async () => {
    const checks = await doctorChecks(options(['mmdebstrap', 'slirp4netns']))
    expect(checks.filter(({fix}) => fix?.startsWith('apt-get'))).toEqual([
      {
        name: 'mmdebstrap',
        ok: false,
        found: 'not found',
        fix: 'apt-get install -y mmdebstrap',
        required: true,
      },
      {
        name: 'slirp4netns',
        ok: false,
        found: 'not found',
        fix: 'apt-get install -y slirp4netns',
        required: true,
      },
    ])
    expect(() => demandAll(checks)).toThrow(
      expect.objectContaining({
        code: 'PRECONDITION',
        exitCode: 3,
        message: expect.stringMatching(/mmdebstrap \(not found\), slirp4netns \(not found\)/),
        hints: expect.arrayContaining(['apt-get install -y mmdebstrap slirp4netns']),
      }),
    )
  })

  it('wants root, Linux and a recent Node.js', async () => {
    expect(await failing(options([], {uid: 1000}))).toContain('root')
    expect(await failing(options([], {platform: 'darwin'}))).toEqual(['Linux'])
    expect(await failing(options([], {nodeVersion: 'v20.18.3'}))).toContain('Node.js')
    expect(await failing(options([], {nodeVersion: 'v22.1.0'}))).not.toContain('Node.js')
  })

  it('wants a Go compiler only while Kubernetes is not compiled', async () => {
    expect(await failing(options(['go']))).toContain('go')
    expect(await failing(options(['go'], {compiled: true}))).not.toContain('go')
  })

  it('says where to free disk space, also for a directory that is not there yet', async () => {
    const disk = (await doctorChecks(options([]))).find(({name}) => name === 'disk for the machine')
    expect(disk?.found).toMatch(/^\d+ GiB free$/)
  })

  it('wants of each driver its own tool, and says how it is installed', async () => {
    const tool = async (driver: DoctorOptions['driver'], program: string) =>
      (await doctorChecks(options([program], {driver, uid: driver === 'lima' ? 1000 : 0}))).find(
        ({name, ok}) => name === program && !ok,
      )?.fix
    expect(await tool('local', 'slirp4netns')).toBe('apt-get install -y slirp4netns')
    expect(await tool('ssh', 'ssh')).toBe('apt-get install -y openssh-client')
  })

  it('wants little room beside a machine that is there already', async () => {
    const disk = async (made: boolean) =>
      (await doctorChecks(options([], {made}))).find(({name}) => name === 'disk for the machine')
    const {bavail, bsize} = await statfs(tmpdir())
    const free = (bavail * bsize) / 1024 ** 3
    expect([(await disk(true))?.ok, (await disk(false))?.ok]).toEqual([free >= 1, free >= 15])
  })

  it('wants nothing of a local machine for other drivers', async () => {
    const checks = await doctorChecks(options(['git'], {driver: 'none', uid: 1000, platform: 'darwin'}))
    expect(checks.map(({name, ok}) => [name, ok])).toEqual([
      ['Node.js', true],
      ['git', false],
    ])
  })

  it('is content when only advice is left', () => {
    demandAll([{name: 'user namespaces', ok: false, found: 'at most 0', fix: 'sysctl', required: false}])
  })
})
