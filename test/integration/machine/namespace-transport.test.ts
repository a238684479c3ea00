import {spawn, type ChildProcess} from 'node:child_process'
import {mkdtemp, readFile, rm, stat} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {afterAll, beforeAll, describe, expect, it} from '@jest/globals'
import {processRunner} from '../../../core/process.js'
import {namespaceTransport} from '../../../provision/transport/namespace.js'
import {itUnless} from '../../support/when.js'

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
const processes = async () =>
  (await transport.run({argv: ['ps', '-e', '-o', 'args=']})).stdout.toString().split('\n')

describe('the way into namespaces', () => {
  itUnless(
    noRoot,
    'passes argv and standard input unchanged and hands back output and exit code',
    async () => {
      const words = ['a b', '"', "'", '$HOME', '-x', '\\', '']
      const script = 'printf "<%s>" "$@"; cat; echo wrong >&2; exit 7'
      const {code, stdout, stderr} = await transport.run({
        argv: ['sh', '-c', script, 'sh', ...words],
        input: 'in',
      })
      expect({code, stdout: stdout.toString(), stderr}).toEqual({
        code: 7,
        stdout: `${words.map((word) => `<${word}>`).join('')}in`,
        stderr: 'wrong\n',
      })
    },
  )

  itUnless(noRoot, 'gives the command none of this process’s environment', async () => {
    process.env['CAGE_TEST_SECRET'] = 'secret'
    const {stdout} = await transport.run({argv: ['env']})
    delete process.env['CAGE_TEST_SECRET']
    expect(stdout.toString()).toContain('HOME=/root')
    expect(stdout.toString()).not.toContain('secret')
  })

  itUnless(noRoot, 'ends a command with everything it started when it is interrupted', async () => {
    const interrupt = new AbortController()
    const argv = ['sh', '-c', 'sleep 4321 & echo started; sleep 1234'] as const
    const onOutput = () => interrupt.abort()
    await expect(transport.run({argv, signal: interrupt.signal, onOutput})).rejects.toMatchObject({
      code: 'INTERRUPTED',
    })
    for (let i = 0; i < 50 && (await processes()).some((line) => /sleep (4321|1234)/.test(line)); i++) {
      await new Promise((next) => setTimeout(next, 100))
    }
    expect((await processes()).filter((line) => /sleep (4321|1234)/.test(line))).toEqual([])
    expect((await processes()).some((line) => line.includes('sleep 600'))).toBe(true)
  })

  itUnless(noRoot, 'writes files whole, with their mode, into directories that it makes', async () => {
    const path = join(directory, 'a/b/file')
    await transport.writeFile(path, 'one', '0600')
    await transport.writeFile(path, 'two', '0640')
    expect(await readFile(path, 'utf8')).toBe('two')
    expect((await stat(path)).mode & 0o777).toBe(0o640)
    await expect(transport.writeFile('/proc/none/file', 'x', '0600')).rejects.toMatchObject({
      code: 'COMMAND_FAILED',
    })
  })

  itUnless(noRoot, 'hands over streams', async () => {
    const running = await transport.start({argv: ['tr', 'a-z', 'A-Z']})
    running.stdin.end('shout')
    const chunks: Buffer[] = []
    for await (const chunk of running.stdout) chunks.push(chunk as Buffer)
    expect(Buffer.concat(chunks).toString()).toBe('SHOUT')
    expect(await running.exit).toBe(0)
  })

  it('says that the machine does not run', async () => {
    const dead = namespaceTransport(processRunner, () => Promise.reject(new Error('does not run')))
    await expect(dead.run({argv: ['true']})).rejects.toThrow('does not run')
    await expect(dead.start({argv: ['true']})).rejects.toThrow('does not run')
  })
})
