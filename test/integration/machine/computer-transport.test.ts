import {afterAll, beforeAll, describe, expect} from '@jest/globals'
import {spawnSync} from 'node:child_process'
import {mkdtemp, readFile, rm} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {processRunner} from '../../../core/process.js'
import {computerTransport} from '../../../provision/transport/computer.js'
import {transportContract} from '../../support/transport-contract.js'
import {itUnless} from '../../support/when.js'

const tried = spawnSync('unshare', ['--mount', '--pid', '--fork', '--mount-proc', 'true'])
const obstacle = tried.status === 0 ? undefined : 'no namespaces here, or not root'

let directory = ''
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'cage-computer-'))
})
afterAll(() => rm(directory, {recursive: true, force: true}))

const transport = computerTransport(processRunner)
transportContract({
  name: 'this computer itself',
  obstacle,
  transport: () => transport,
  directory: () => directory,
})

describe('this computer itself', () => {
  itUnless(obstacle, 'keeps what a command mounts from everybody else', async () => {
    const mounted = await transport.run({
      argv: ['sh', '-c', 'mount -t tmpfs cage-test "$0" && grep -c cage-test /proc/self/mounts', directory],
    })
    expect(mounted.stdout.toString()).toBe('1\n')
    expect(await readFile('/proc/self/mounts', 'utf8')).not.toContain('cage-test')
  })
})
