import {spawn, type ChildProcess} from 'node:child_process'
import {once} from 'node:events'
import {afterEach, describe, expect, it} from '@jest/globals'
import {processRunner} from '../../../core/process.js'
import {livingProcess, processIdentity} from '../../../provision/state/process-identity.js'

/** What the scripts of a node print for a process; empty when they take it for ended. */
async function identityInShell(pid: number): Promise<string> {
  const script = `. provision/guest/node/lib.sh && process_identity ${pid}`
  const {stdout} = await processRunner.run({argv: ['bash', '-c', script]})
  return stdout.toString().trim()
}

describe('the identity of a process', () => {
  let parent: ChildProcess | undefined
  afterEach(() => {
    parent?.kill('SIGKILL')
  })

  /** A child that has ended and that its parent never asks for; or one that goes on. */
  async function child(command: string): Promise<number> {
    parent = spawn('sh', ['-c', `${command} & echo $!; exec sleep 60`], {stdio: ['ignore', 'pipe', 'ignore']})
    const [line] = (await once(parent.stdout as NodeJS.ReadableStream, 'data')) as [Buffer]
    return Number(line.toString())
  }

  it('is the same for the scripts and for the program', async () => {
    const pid = await child('sleep 60')
    const identity = await processIdentity(pid)
    expect(identity).toMatch(/^\d+ \d+ [-0-9a-f]{36}$/)
    expect(await identityInShell(pid)).toBe(identity)
    expect(await livingProcess(identity ?? '')).toBe(pid)
    process.kill(pid, 'SIGKILL')
  })

  it('belongs to nothing that has ended, also while its parent has not noticed', async () => {
    const pid = await child('exec sleep 60')
    const identity = (await processIdentity(pid)) ?? ''
    process.kill(pid, 'SIGKILL')
    while (await processIdentity(pid)) await new Promise((resolve) => setTimeout(resolve, 10))
    expect(() => process.kill(pid, 0)).not.toThrow()
    expect(await livingProcess(identity)).toBeUndefined()
    expect(await identityInShell(pid)).toBe('')
  })
})
