import {randomBytes} from 'node:crypto'
import {readFile, stat} from 'node:fs/promises'
import {join} from 'node:path'
import {describe, expect} from '@jest/globals'
import type {Transport} from '../../provision/transport/transport.js'
import {itUnless} from './when.js'

export interface TransportUnderTest {
  /** names it in the suite */
  name: string
  /** why it cannot be tried here */
  obstacle: string | undefined
  transport: () => Transport
  /** a directory that both sides see under this path */
  directory: () => string
}

/** What every way to a machine keeps; see the MUST words of `Transport`. */
export function transportContract({name, obstacle, transport, directory}: TransportUnderTest): void {
  const test = (title: string, body: () => Promise<void>) => itUnless(obstacle, title, body)
  const alive = async (pattern: RegExp) => {
    const {stdout} = await transport().run({argv: ['ps', '-e', '-o', 'stat=,args=']})
    return stdout
      .toString()
      .split('\n')
      .filter((line) => pattern.test(line) && !line.startsWith('Z'))
  }
  const gone = async (pattern: RegExp) => {
    for (let i = 0; i < 80 && (await alive(pattern)).length > 0; i++) {
      await new Promise((next) => setTimeout(next, 100))
    }
    return alive(pattern)
  }

  describe(`the contract of a transport: ${name}`, () => {
    test('passes argv and standard input unchanged and hands back output and exit code', async () => {
      const words = [
        'a b',
        '"',
        "'",
        '$HOME',
        '`id`',
        '-x',
        '\\',
        '',
        'line\nline\n',
        'ä€𝄞',
        '*',
        '!x',
        '#',
        '%s',
      ]
      const script = 'printf "<%s>" "$@"; cat; echo wrong >&2; exit 7'
      const input = randomBytes(300_000).toString('base64')
      const {code, stdout, stderr} = await transport().run({
        argv: ['sh', '-c', script, 'sh', ...words],
        input,
      })
      expect({code, stdout: stdout.toString(), stderr}).toEqual({
        code: 7,
        stdout: `${words.map((word) => `<${word}>`).join('')}${input}`,
        stderr: 'wrong\n',
      })
    })

    test('passes bytes, not text, both ways', async () => {
      const input = randomBytes(1_000_000)
      const {stdout} = await transport().run({argv: ['cat'], input})
      expect(stdout.equals(input)).toBe(true)
    })

    test('gives empty standard input when there is none', async () => {
      expect((await transport().run({argv: ['cat']})).stdout.toString()).toBe('')
    })

    test('says which signal ended a command, and which program is not there', async () => {
      expect((await transport().run({argv: ['sh', '-c', 'kill -KILL $$']})).code).toBe(137)
      expect((await transport().run({argv: ['/no/such/program']})).code).toBe(127)
    })

    test('gives the command root’s environment and nothing of this process’s', async () => {
      process.env['CAGE_TEST_SECRET'] = 'secret'
      process.env['LC_CAGE_TEST'] = 'secret'
      const {stdout} = await transport().run({argv: ['env']})
      delete process.env['CAGE_TEST_SECRET']
      delete process.env['LC_CAGE_TEST']
      expect(stdout.toString()).toContain('HOME=/root')
      expect(stdout.toString()).not.toContain('secret')
      expect((await transport().run({argv: ['id', '-u']})).stdout.toString()).toBe('0\n')
    })

    test('ends a command with everything it started when it is interrupted', async () => {
      const interrupt = new AbortController()
      const argv = ['sh', '-c', 'sleep 4321 & echo started; sleep 1234'] as const
      const onOutput = () => interrupt.abort()
      await expect(transport().run({argv, signal: interrupt.signal, onOutput})).rejects.toMatchObject({
        code: 'INTERRUPTED',
        exitCode: 130,
      })
      expect(await gone(/sleep (4321|1234)/)).toEqual([])
    })

    test('ends it at its deadline, also when it does not listen', async () => {
      const argv = ['sh', '-c', 'trap "" TERM; sleep 4322; sleep 4323'] as const
      await expect(transport().run({argv, timeoutMs: 1000})).rejects.toMatchObject({
        code: 'COMMAND_DEADLINE',
        exitCode: 5,
      })
      expect(await gone(/sleep 432[23]/)).toEqual([])
    })

    test('stops what says more than it may', async () => {
      await expect(transport().run({argv: ['yes'], maxOutput: 100_000})).rejects.toMatchObject({
        code: 'COMMAND_OUTPUT',
      })
    })

    test('writes files whole, with their mode, into directories that it makes', async () => {
      const path = join(directory(), 'a/b/file')
      await transport().writeFile(path, 'one', '0600')
      await transport().writeFile(path, 'two', '0640')
      expect(await readFile(path, 'utf8')).toBe('two')
      expect((await stat(path)).mode & 0o777).toBe(0o640)
      await expect(transport().writeFile('/proc/none/file', 'x', '0600')).rejects.toMatchObject({
        code: 'COMMAND_FAILED',
      })
    })

    test('hands over streams', async () => {
      const running = await transport().start({argv: ['tr', 'a-z', 'A-Z']})
      running.stderr.resume()
      running.stdin.end('shout')
      const chunks: Buffer[] = []
      for await (const chunk of running.stdout) chunks.push(chunk as Buffer)
      expect(Buffer.concat(chunks).toString()).toBe('SHOUT')
      expect(await running.exit).toBe(0)
    })

    test('ends a started command when its signal fires', async () => {
      const interrupt = new AbortController()
      const running = await transport().start({
        argv: ['sh', '-c', 'sleep 4324; true'],
        signal: interrupt.signal,
      })
      running.stdout.resume()
      running.stderr.resume()
      interrupt.abort()
      expect(await running.exit).not.toBe(0)
      expect(await gone(/sleep 4324/)).toEqual([])
    })

    test('runs many commands at once', async () => {
      const numbers = Array.from({length: 24}, (_, i) => String(i))
      const said = await Promise.all(
        numbers.map(async (n) =>
          (await transport().run({argv: ['sh', '-c', 'sleep 0.2; echo $0', n]})).stdout.toString(),
        ),
      )
      expect(said).toEqual(numbers.map((n) => `${n}\n`))
    })
  })
}
