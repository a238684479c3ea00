import {mkdtemp, readFile, rm, writeFile} from 'node:fs/promises'
import {homedir, tmpdir} from 'node:os'
import {join, resolve} from 'node:path'
import {expect} from '@jest/globals'
import {systemClock} from '../../../core/clock.js'
import {processRunner} from '../../../core/process.js'
import {kubernetesIsBuilt} from '../../../provision/machine/local-build.js'
import {LocalMachine} from '../../../provision/machine/local.js'
import {networkOf} from '../../../provision/state/network.js'
import {itUnless} from '../../support/when.js'

const GIB = 1024 ** 3
const cache = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'cage')
const packageRoot = resolve('.')
const obstacle =
  process.getuid?.() !== 0
    ? 'a node on this computer needs root'
    : (await kubernetesIsBuilt(packageRoot, cache))
      ? undefined
      : 'what a node starts from is not compiled on this computer yet'

itUnless(
  obstacle,
  'a disk that takes no more writes makes the machine broken, and a start mends it',
  async () => {
    const scratch = await mkdtemp(join(process.env['CAGE_TEST_SCRATCH'] ?? tmpdir(), 'cage-disks-'))
    const machine = new LocalMachine({
      runner: processRunner,
      clock: systemClock,
      record: {
        ...{version: 1, id: 'disks-0a0b0c0d', project: 'disks', repository: '/src/disks', driver: 'local'},
        ...{cluster: 'kubeadm', cpus: 1, memory: 1 * GIB, disk: 20 * GIB, network: networkOf(254)},
      },
      directory: join(scratch, 'machine'),
      packageRoot,
      cache,
    })
    const work = {signal: new AbortController().signal, detail: () => undefined}
    const inside = async (script: string) => machine.transport.run({argv: ['sh', '-c', script]})
    const asOnServer = async () => {
      const argv: [string] = [resolve('provision/guest/node/state.sh')]
      const env = {PATH: process.env['PATH'] ?? '', CAGE_NODE_DIR: join(scratch, 'machine')}
      return (await processRunner.run({argv, env})).stdout.toString().trim()
    }
    try {
      await machine.create(work)
      await machine.start(work)
      await inside('echo kept >/var/lib/etcd/file && sync')
      const {stdout} = await inside('findmnt --noheadings --output SOURCE /var/lib/etcd')
      const device = /loop\d+/.exec(stdout.toString())?.[0] ?? ''
      expect(await machine.state()).toBe('running')
      await writeFile(`/sys/fs/ext4/${device}/trigger_fs_error`, 'a write that was lost')
      expect((await inside('touch /var/lib/etcd/other')).stderr).toContain('Read-only file system')
      expect([await machine.state(), await asOnServer()]).toEqual(['broken', 'broken'])
      await machine.start(work)
      expect([await machine.state(), await asOnServer()]).toEqual(['running', 'running'])
      expect((await inside('touch /var/lib/etcd/other && cat /var/lib/etcd/file')).stdout.toString()).toBe(
        'kept\n',
      )
      expect(await readFile(join(scratch, 'machine/node.log'), 'utf8')).toContain('file system with errors')
    } finally {
      await machine.destroy(work)
      await rm(scratch, {recursive: true, force: true})
    }
  },
)
