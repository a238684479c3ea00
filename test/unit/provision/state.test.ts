import {mkdtemp, readdir, readFile, rm, stat, writeFile} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {afterEach, beforeEach, describe, expect, it} from '@jest/globals'
import {readIfThere, writePrivate} from '../../../provision/state/files.js'
import {projectFiles} from '../../../provision/state/layout.js'
import {takeLock} from '../../../provision/state/lock.js'
import {readRecord, writeRecord, type MachineRecord} from '../../../provision/state/machine-record.js'
import {freeNetwork, networkOf, overlaps} from '../../../provision/state/network.js'
import {livingProcess, processIdentity} from '../../../provision/state/process-identity.js'

let home: string
beforeEach(async () => (home = await mkdtemp(join(tmpdir(), 'cage-state-'))))
afterEach(() => rm(home, {recursive: true, force: true}))

function record(id: string, second: number): MachineRecord {
  return {
    version: 1,
    id,
    project: 'shop',
    repository: '/src/shop',
    driver: 'local',
    cluster: 'kubeadm',
    cpus: 4,
    memory: 8 * 1024 ** 3,
    disk: 60 * 1024 ** 3,
    network: networkOf(second),
  }
}

describe('files of the state directory', () => {
  it('are readable by their owner only and replaced as a whole', async () => {
    const path = join(home, 'cage', 'shop-00000001', 'machine.json')
    await writePrivate(path, 'one')
    await writePrivate(path, 'two')
    expect(await readFile(path, 'utf8')).toBe('two')
    expect((await stat(path)).mode & 0o777).toBe(0o600)
    expect((await stat(join(home, 'cage', 'shop-00000001'))).mode & 0o777).toBe(0o700)
    expect(await readdir(join(home, 'cage', 'shop-00000001'))).toEqual(['machine.json'])
  })

  it('are undefined when they are not there', async () => {
    expect(await readIfThere(join(home, 'nothing'))).toBeUndefined()
  })

  it('fail with the path when they cannot be written', async () => {
    await writeFile(join(home, 'file'), '')
    await expect(writePrivate(join(home, 'file', 'below'), 'x')).rejects.toThrow(join(home, 'file'))
  })
})

describe('the lock', () => {
  it('is held by one and free again after release', async () => {
    const path = join(home, 'lock')
    const lock = await takeLock(path, 'cage up')
    await expect(takeLock(path, 'cage down')).rejects.toMatchObject({
      code: 'PROJECT_BUSY',
      message: expect.stringMatching(new RegExp(`cage up.*${process.pid}`)),
    })
    await lock.release()
    await (await takeLock(path, 'cage down')).release()
    expect(await readdir(home)).toEqual([])
  })

  it('is taken over from a process that is gone', async () => {
    const path = join(home, 'lock')
    await writeFile(path, '4194301 12345 00000000-0000-0000-0000-000000000000\ncage up\n')
    await (await takeLock(path, 'cage up')).release()
  })

  it('is taken over when its process number belongs to another process now', async () => {
    const path = join(home, 'lock')
    await writeFile(path, `${process.pid} 1 00000000-0000-0000-0000-000000000000\ncage up\n`)
    await (await takeLock(path, 'cage up')).release()
  })

  it('is not removed by one who does not hold it any more', async () => {
    const path = join(home, 'lock')
    const lock = await takeLock(path, 'cage up')
    await writeFile(path, 'somebody else\n')
    await lock.release()
    expect(await readFile(path, 'utf8')).toBe('somebody else\n')
  })
})

describe('the identity of a process', () => {
  it('is that of the running one only', async () => {
    const identity = (await processIdentity(process.pid)) ?? ''
    expect(await livingProcess(identity)).toBe(process.pid)
    expect(await livingProcess(`${identity} `)).toBe(process.pid)
    expect(await livingProcess(identity.replace(/ \d+ /, ' 1 '))).toBeUndefined()
    expect(await livingProcess('')).toBeUndefined()
  })
})

describe('the record of a machine', () => {
  it('comes back as it was written', async () => {
    const {record: path} = projectFiles(home, 'shop-00000001')
    expect(await readRecord(path)).toBeUndefined()
    await writeRecord(path, record('shop-00000001', 200))
    expect(await readRecord(path)).toEqual(record('shop-00000001', 200))
  })

  it.each(['', '{', 'null', '[]', '{"version":2,"id":"a"}', '{"version":1}'])('refuses %j', async (text) => {
    const path = join(home, 'machine.json')
    await writeFile(path, text)
    await expect(readRecord(path)).rejects.toMatchObject({code: 'STATE_DAMAGED'})
  })
})

describe('networks', () => {
  it('of two projects never meet', async () => {
    await writeRecord(projectFiles(home, 'shop-00000001').record, record('shop-00000001', 200))
    await writeRecord(projectFiles(home, 'api-00000002').record, record('api-00000002', 202))
    expect((await freeNetwork(home, [])).range).toBe('10.201.0.0/16')
    expect((await freeNetwork(home, ['10.201.3.0/24'])).range).toBe('10.203.0.0/16')
  })

  it('keep clear of the routes, addresses and resolvers of this computer', async () => {
    const inUse = ['default', '10.200.0.0/15', '10.202.7.9', 'fe80::/64', 'broadcast']
    expect((await freeNetwork(home, inUse)).range).toBe('10.203.0.0/16')
  })

  it('end with a clear error', async () => {
    await expect(freeNetwork(home, ['10.0.0.0/8'])).rejects.toMatchObject({code: 'NETWORK_FULL', exitCode: 3})
  })

  it.each([
    ['10.0.0.0/8', '10.200.0.0/16', true],
    ['10.200.0.2', '10.200.0.0/16', true],
    ['10.201.0.0/16', '10.200.0.0/16', false],
    ['0.0.0.0/0', '10.200.0.0/16', true],
    ['default', '10.200.0.0/16', false],
  ])('%s overlaps %s: %s', (one, other, expected) => {
    expect(overlaps(one, other)).toBe(expected)
    expect(overlaps(other, one)).toBe(expected)
  })
})
