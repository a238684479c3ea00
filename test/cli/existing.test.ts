import {execFileSync} from 'node:child_process'
import {existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync} from 'node:fs'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {Config} from '@oclif/core'
import {captureOutput} from '@oclif/test'
import {afterEach, beforeEach, describe, expect, test} from '@jest/globals'
import Status from '../../cli/commands/status.js'
import Up from '../../cli/commands/up.js'
// Loaded before: this test runner cannot load one module from two sides at once.
import '../../cli/upstreams.js'
import '../../cli/up.js'
import '../../cli/project-status.js'
import {FakeApiServer, type SeenRequest} from '../support/fake-api-server.js'

const saved = {...process.env}
let root: string
let repository: string
let server: FakeApiServer

beforeEach(async () => {
  root = mkdtempSync(join(tmpdir(), 'cage-existing-'))
  repository = join(root, 'shop')
  mkdirSync(repository)
  execFileSync('git', ['init', '-q', repository])
  const identity = ['-c', 'user.name=A', '-c', 'user.email=a@shop.invalid']
  execFileSync('git', ['-C', repository, ...identity, 'commit', '-q', '--allow-empty', '-m', 'Begin'])
  Object.assign(process.env, {
    HOME: root,
    XDG_STATE_HOME: join(root, 'state'),
    XDG_CONFIG_HOME: join(root, 'config'),
    XDG_CACHE_HOME: join(root, 'cache'),
  })
  server = await FakeApiServer.start()
})
afterEach(async () => {
  process.env = {...saved}
  await server.stop()
  rmSync(root, {recursive: true})
})

function configure(machine: string, cluster: Record<string, string>): void {
  mkdirSync(join(root, 'config', 'cage'), {recursive: true})
  const defaults = {machine: {driver: machine}, cluster: {kind: 'existing', ...cluster}}
  writeFileSync(join(root, 'config', 'cage', 'config.yaml'), JSON.stringify({version: 1, defaults}))
}

async function cage(command: typeof Up | typeof Status) {
  const config = await Config.load({root: process.cwd()})
  const {stdout, stderr, error} = await captureOutput(
    () => (command as typeof Up).run(['-C', repository], config),
    {print: false},
  )
  const exit = (error as {oclif?: {exit?: number}} | undefined)?.oclif?.exit
  process.exitCode = undefined
  if (error && exit === undefined) throw error
  return {code: error ? (exit ?? 1) : 0, stdout, stderr}
}

/** A cluster that has hardly anything, and lets nobody do anything. */
function poorCluster({url}: SeenRequest): unknown {
  if (url.startsWith('/version')) return {gitVersion: 'v1.29.4', major: '1', minor: '29'}
  if (url.startsWith('/api/v1/namespaces/kube-system?') || url === '/api/v1/namespaces/kube-system')
    return {apiVersion: 'v1', kind: 'Namespace', metadata: {name: 'kube-system', uid: 'the-cluster'}}
  if (url.includes('selfsubjectaccessreviews')) return {status: {allowed: false}}
  return undefined
}

describe('cluster existing', () => {
  test('everything that is missing is named at once, and nothing is made', async () => {
    server.otherwise = (request, response) => {
      const answer = poorCluster(request)
      const status = {kind: 'Status', apiVersion: 'v1', status: 'Failure', code: 403, reason: 'Forbidden'}
      response.writeHead(answer ? 200 : 403, {'content-type': 'application/json'})
      response.end(JSON.stringify(answer ?? {...status, message: 'no'}))
    }
    configure('none', {kubeconfig: server.kubeconfig(), registry: '127.0.0.1:1/team'})
    const {code, stderr} = await cage(Up)
    expect(code).toBe(3)
    for (const name of [
      'Kubernetes version: v1.29.4',
      'nodes: ',
      'ValidatingAdmissionPolicy: ',
      'NET_ADMIN in an init container: ',
      'storage class: ',
      'resolver: ',
      'permissions: not permitted: ',
      'registry: the registry 127.0.0.1:1 is not reached',
    ])
      expect(stderr).toContain(name)
    const changes = server.requests.filter(
      ({method, url}) => method !== 'GET' && !/dryRun=All|selfsubjectaccessreviews/.test(url),
    )
    expect(changes).toEqual([])
    const [id = ''] = readdirSync(join(root, 'state', 'cage')).filter((name) => name.startsWith('shop-'))
    expect(existsSync(join(root, 'state', 'cage', id, 'machine.json'))).toBe(false)
  })

  test.each([
    [{}, 'needs cluster.kubeconfig and cluster.registry', 3],
    [{kubeconfig: '~/missing', registry: 'r.example.com/x'}, 'missing is not readable', 3],
  ])('what is not said or not there is named: %j', async (cluster, message, exit) => {
    configure('none', cluster)
    const {code, stderr} = await cage(Up)
    expect({code, named: stderr.includes(message) || stderr}).toEqual({code: exit, named: true})
  })

  test('a machine beside it is a contradiction', async () => {
    configure('local', {kubeconfig: server.kubeconfig(), registry: 'r.example.com/x'})
    const {code, stderr} = await cage(Up)
    expect(code).toBe(2)
    expect(stderr).toContain('machine `local` does not go with cluster `existing`')
    expect(server.requests).toEqual([])
  })

  test('status before the first up asks nobody', async () => {
    configure('none', {kubeconfig: server.kubeconfig(), registry: 'r.example.com/x'})
    const {code, stdout} = await cage(Status)
    expect(code).toBe(0)
    expect(stdout).toContain('existing')
    expect(server.requests).toEqual([])
  })
})
