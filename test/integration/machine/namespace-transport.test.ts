import {spawn, type ChildProcess} from 'node:child_process'
import {mkdtemp, readFile, rm} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {afterAll, beforeAll, describe, expect, it} from '@jest/globals'
import {processRunner} from '../../../core/process.js'
import {namespaceTransport} from '../../../provision/transport/namespace.js'
import {transportContract} from '../../support/transport-contract.js'

const noRoot = process.getuid?.() === 0 ? undefined : 'entering namespaces needs root'
let child: ChildProcess
let directory: string

/** A process in namespaces of its own; it shares this computer's files. */
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'cage-namespace-'))
  if (noRoot !== undefined) return
  const namespaces = ['--mount', '--uts', '--ipc', '--net', '--pid', '--cgroup', '--mount-proc']
  child = spawn('unshare', [...namespaces, '--fork', '--kill-child', 'sh', '-c', 'echo ready; sleep 600'])
  await new Promise((next) => child.stdout?.once('data', next))
})
afterAll(async () => {
  if (noRoot === undefined) child.kill('SIGKILL')
  await rm(directory, {recursive: true, force: true})
})

async function firstProcess(): Promise<number> {
  const children = await readFile(`/proc/${child.pid ?? 0}/task/${child.pid ?? 0}/children`, 'utf8')
  return Number(children.trim().split(' ')[0])
}
const transport = namespaceTransport(processRunner, firstProcess)

transportContract({
  name: 'namespaces',
  obstacle: noRoot,
  transport: () => transport,
  directory: () => directory,
})

describe('the way into namespaces', () => {
  it('says that the machine does not run', async () => {
    const dead = namespaceTransport(processRunner, () => Promise.reject(new Error('does not run')))
    await expect(dead.run({argv: ['true']})).rejects.toThrow('does not run')
    await expect(dead.start({argv: ['true']})).rejects.toThrow('does not run')
  })
})
