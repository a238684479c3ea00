import {execFileSync} from 'node:child_process'
import {mkdirSync, readFileSync, writeFileSync} from 'node:fs'
import {join} from 'node:path'
import {afterAll, beforeAll, describe, expect, it} from '@jest/globals'
import {parse, stringify} from 'yaml'
import {createAuthority, issueServer, parseAuthority} from '../../core/certificates/authority.js'
import {startFakeAnthropic, type FakeAnthropic} from '../support/fake-anthropic.js'
import {sampleSecret} from '../support/secret-sample.js'
import {cage, cageJson, cageOk, eventually, inTask, killContainer, scratch} from './harness.js'

/** A branch that was pushed stays upstream when its task is removed. */
const run = Date.now().toString(36)

interface Shown {
  namespace: string
  pod: string
  agent: {state: string; exitCode: number | null}
}
const show = (task: string) => cageJson<Shown>(['task', 'show', task])

/** Waits until the agent is in one of the states; what it is then. */
function reached(task: string, ...states: string[]): Promise<Shown['agent']> {
  return eventually(`the agent of ${task} is ${states.join(' or ')}`, async () => {
    const {agent} = await show(task)
    return states.includes(agent.state) ? agent : undefined
  })
}
const screen = async (task: string) =>
  (await inTask(task, 'tmux -S /tmp/tmux.sock capture-pane -p -S - -t agent')).stdout

describe('a shell as agent', () => {
  const branch = `test/shell-${run}`
  afterAll(() => cage(['task', 'rm', branch, '--force']), 120_000)

  it('works, ends, and is not started again', async () => {
    const script = 'echo run >>runs; echo "last words"; exit 7'
    await cageOk(['task', 'new', branch, '--agent', 'shell', '--', 'bash', '-c', script])
    expect(await reached(branch, 'failed', 'done')).toMatchObject({state: 'failed', exitCode: 7})
    expect(await screen(branch)).toContain('last words')
    await cageOk(['task', 'stop', branch])
    await cageOk(['task', 'start', branch])
    await killContainer(await show(branch), 'agent')
    await eventually('the container is back', async () => {
      const {code, stdout} = await inTask(branch, 'cat runs; tmux -S /tmp/tmux.sock has-session -t agent')
      return code === 0 ? stdout : undefined
    })
    expect((await inTask(branch, 'cat runs')).stdout).toBe('run\n')
    expect((await show(branch)).agent).toMatchObject({state: 'failed', exitCode: 7})
  }, 400_000)
})

describe('an interactive shell as agent', () => {
  const branch = `test/interactive-${run}`
  const type = (...keys: string[]) =>
    inTask(branch, `tmux -S /tmp/tmux.sock send-keys -t agent ${keys.map((key) => `'${key}'`).join(' ')}`)
  beforeAll(() => cageOk(['task', 'new', branch, '--agent', 'shell']), 300_000)
  afterAll(() => cage(['task', 'rm', branch, '--force']), 120_000)

  it('says when it works and when it waits', async () => {
    await reached(branch, 'waiting')
    await type('sleep 1000', 'Enter')
    await reached(branch, 'working')
    await type('C-c')
    await reached(branch, 'waiting')
  })

  it('is there again after its container was killed', async () => {
    await type('echo before', 'Enter')
    await killContainer(await show(branch), 'agent')
    await eventually('the shell is back', async () => {
      return (await screen(branch)).includes('going on after a restart') ? true : undefined
    })
    await reached(branch, 'waiting')
  })
})

const address = '198.51.100.77'
const isRoot = process.getuid?.() === 0
const withAddress = isRoot ? describe : describe.skip

withAddress(
  `Claude Code against a Messages API${isRoot ? '' : ' (skipped: needs root to give this computer an address)'}`,
  () => {
    const branch = `test/claude-${run}`
    const token = `real-${'t'.repeat(40)}`
    const configuration = join(process.env['XDG_CONFIG_HOME'] ?? '', 'cage', 'config.yaml')
    const sample = sampleSecret('AKIA<b32:16>')
    let before: string
    let api: FakeAnthropic

    beforeAll(async () => {
      execFileSync('ip', ['address', 'replace', `${address}/32`, 'dev', 'lo'])
      const authority = parseAuthority(createAuthority('test internet', Date.now()))
      const server = issueServer(authority, 'api.anthropic.com', Date.now(), 7)
      api = await startFakeAnthropic({
        host: address,
        port: 443,
        tls: {cert: server.certificate, key: server.key},
        token,
        commands: [
          'env | sort; cat /proc/self/environ | tr "\\0" "\\n"',
          `printf '%s\\n' '${sample}' >sample.key; cat sample.key`,
          'echo done >work.txt && git add work.txt && git commit -qm "Work of the agent" && git push -q && git status -sb',
        ],
      })
      const folder = join(scratch, 'internet')
      mkdirSync(folder, {recursive: true})
      writeFileSync(join(folder, 'ca.pem'), authority.certificate)
      before = readFileSync(configuration, 'utf8')
      const hosts = {'api.anthropic.com': {address, port: 443, ca: join(folder, 'ca.pem')}}
      writeFileSync(configuration, stringify({...(parse(before) as object), network: {hosts}}))
      await cageOk(['up'])
    }, 300_000)
    afterAll(async () => {
      await cage(['task', 'rm', branch, '--force'])
      await api.close()
      execFileSync('ip', ['address', 'del', `${address}/32`, 'dev', 'lo'])
      writeFileSync(configuration, before)
      await cageOk(['up'])
    }, 300_000)

    it('does its work without a question, and the service sees the real credential', async () => {
      await cageOk(['task', 'new', branch, '--agent', 'claude', '--prompt', 'do the work'], {
        env: {...process.env, ANTHROPIC_AUTH_TOKEN: token},
      })
      await reached(branch, 'waiting')
      expect(await screen(branch)).toContain('Done.')
      const results = api.toolResults()
      expect(results).toHaveLength(3)
      expect(api.seen.length).toBeGreaterThan(3)
      expect(new Set(api.seen.map(({headers}) => headers.authorization))).toEqual(
        new Set([`Bearer ${token}`]),
      )
      expect(results[0]).toContain('ANTHROPIC_AUTH_TOKEN=')
      expect(JSON.stringify(api.seen.map(({body}) => body))).not.toContain(token)
      expect(results[1]).toContain(sample)
      expect(results[2]).toContain(`origin/${branch}`)
    }, 300_000)

    it('leaves the real credential nowhere in the pod', async () => {
      // The pattern comes by standard input, so that the search does not find itself.
      const places = '/home/agent /tmp /etc /run /proc/[0-9]*/environ /proc/[0-9]*/cmdline'
      const search = async (text: string) => {
        const {stdout} = await inTask(branch, `grep -rlF -f - ${places} 2>/dev/null`, {input: `${text}\n`})
        return stdout.trim()
      }
      expect(await search('ANTHROPIC_AUTH_TOKEN=')).toContain('/proc/1/environ')
      expect(await search(token)).toBe('')
    })

    it('goes on with the same conversation after its container was killed', async () => {
      const count = api.seen.length
      await killContainer(await show(branch), 'agent')
      await eventually('Claude asks again', () => Promise.resolve(api.seen.length > count ? true : undefined))
      await reached(branch, 'waiting')
      const last = api.seen.at(-1)?.body as {messages: unknown[]}
      expect(JSON.stringify(last.messages)).toContain('do the work')
      expect(await screen(branch)).toContain('Done.')
    }, 200_000)
  },
)
