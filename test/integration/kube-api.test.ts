import {PassThrough, Writable} from 'node:stream'
import {afterEach, beforeEach, describe, expect, it} from '@jest/globals'
import type {CageError} from '../../core/errors.js'
import type {KubeObject} from '../../core/kube-object.js'
import type {Cluster} from '../../kube/cluster.js'
import {connect} from '../../kube/connect.js'
import {drop, FakeApiServer, json, status, watch} from '../support/fake-api-server.js'

const pod: KubeObject = {apiVersion: 'v1', kind: 'Pod', metadata: {name: 'a', namespace: 'n'}, spec: {}}
const ref = {apiVersion: 'v1', kind: 'Pod', name: 'a', namespace: 'n'}
const secret: KubeObject = {
  apiVersion: 'v1',
  kind: 'Secret',
  metadata: {name: 's', namespace: 'n'},
  data: {key: 'secret-value'},
}

async function failureOf(promise: Promise<unknown>): Promise<CageError> {
  try {
    await promise
  } catch (error) {
    return error as CageError
  }
  throw new Error('it did not fail')
}

describe('a cluster over its API server', () => {
  let server: FakeApiServer
  let cluster: Cluster

  beforeEach(async () => {
    server = await FakeApiServer.start()
    cluster = await connect({kubeconfig: server.kubeconfig()})
  })
  afterEach(async () => {
    await cluster.close()
    await server.stop()
  })

  describe('requests', () => {
    it('apply on the server side, in order, as cage', async () => {
      server.otherwise = json({})
      await cluster.apply([{apiVersion: 'v1', kind: 'Namespace', metadata: {name: 'n'}}, secret])
      expect(server.requests.map(({method, url}) => `${method} ${url}`)).toEqual([
        'PATCH /api/v1/namespaces/n?fieldManager=cage&force=true',
        'PATCH /api/v1/namespaces/n/secrets/s?fieldManager=cage&force=true',
      ])
      expect(server.requests[1]?.headers['content-type']).toBe('application/apply-patch+yaml')
      expect(server.requests[1]?.headers.authorization).toBe('Bearer token-that-must-not-show')
      expect(JSON.parse(server.requests[1]?.body ?? '')).toEqual(secret)
    })

    it('create once, and say when it was there', async () => {
      server.script.push(json({}, 201), status(409, 'pods "a" already exists', 'AlreadyExists'))
      await expect(cluster.create(pod)).resolves.toBe('created')
      await expect(cluster.create(pod)).resolves.toBe('exists')
      server.script.push(status(409, 'namespace is being terminated', 'Conflict'))
      await expect(cluster.create(pod)).rejects.toMatchObject({code: 'CLUSTER_CONFLICT'})
    })

    it('ask for a dry run', async () => {
      server.otherwise = json({})
      await cluster.create(pod, {dryRun: true})
      await cluster.apply([pod], {dryRun: true})
      expect(server.requests.every(({url}) => url.includes('dryRun=All'))).toBe(true)
    })

    it('get an object as the server wrote it, or undefined', async () => {
      const stored = {
        ...pod,
        metadata: {...pod.metadata, creationTimestamp: '2026-01-01T00:00:00Z'},
        newField: {x: 1},
      }
      server.script.push(json(stored), status(404, 'pods "a" not found'))
      await expect(cluster.get(ref)).resolves.toEqual(stored)
      await expect(cluster.get(ref)).resolves.toBeUndefined()
    })

    it('list all pages', async () => {
      server.script.push(
        json({items: [{metadata: {name: 'a'}}], metadata: {continue: 'next'}}),
        json({items: [{metadata: {name: 'b'}}], metadata: {}}),
      )
      const items = await cluster.list({
        apiVersion: 'apps/v1',
        kind: 'Deployment',
        namespace: 'n',
        labelSelector: 'x=y',
      })
      expect(items.map(({kind, apiVersion, metadata}) => [kind, apiVersion, metadata.name])).toEqual([
        ['Deployment', 'apps/v1', 'a'],
        ['Deployment', 'apps/v1', 'b'],
      ])
      expect(server.requests.map(({url}) => url)).toEqual([
        '/apis/apps/v1/namespaces/n/deployments?limit=250&labelSelector=x%3Dy',
        '/apis/apps/v1/namespaces/n/deployments?limit=250&labelSelector=x%3Dy&continue=next',
      ])
    })

    it('patch by merging', async () => {
      server.otherwise = json({})
      await cluster.patch(ref, {metadata: {annotations: {a: null}}})
      expect(server.requests[0]).toMatchObject({
        method: 'PATCH',
        body: '{"metadata":{"annotations":{"a":null}}}',
      })
      expect(server.requests[0]?.headers['content-type']).toBe('application/merge-patch+json')
    })

    it('delete, and wait until it is gone', async () => {
      server.script.push(json(pod), json(pod), watch({type: 'DELETED', object: pod}))
      await expect(cluster.delete(ref, {gracePeriodSeconds: 5, wait: {deadlineMs: 5000}})).resolves.toBe(true)
      expect(JSON.parse(server.requests[0]?.body ?? '')).toMatchObject({gracePeriodSeconds: 5})
      server.script.push(status(404, 'not found'))
      await expect(cluster.delete(ref)).resolves.toBe(false)
    })

    it.each(['', '.', '..'])('refuse %j as a name', async (name) => {
      await expect(cluster.get({...ref, name})).rejects.toMatchObject({code: 'CLUSTER_INVALID'})
      expect(server.requests).toEqual([])
    })

    it('keep a name one path segment', async () => {
      await cluster.get({...ref, name: '../secrets/x?y'})
      expect(server.requests[0]?.url).toBe('/api/v1/namespaces/n/pods/..%2Fsecrets%2Fx%3Fy')
    })

    it('refuse a kind nobody needs', async () => {
      await expect(cluster.get({...ref, kind: 'Ingress'})).rejects.toMatchObject({
        code: 'CLUSTER_KIND_UNKNOWN',
      })
    })
  })

  describe('failures', () => {
    it.each([
      [401, 'Unauthorized', 'CLUSTER_UNAUTHENTICATED', 3],
      [403, 'pods is forbidden: User "x" cannot list', 'CLUSTER_FORBIDDEN', 4],
      [404, 'namespaces "n" not found', 'CLUSTER_NOT_FOUND', 6],
      [409, 'the object has been modified', 'CLUSTER_CONFLICT', 1],
      [422, 'Pod "a" is invalid: spec.x: Required value', 'CLUSTER_INVALID', 1],
      [
        422,
        "ValidatingAdmissionPolicy 'x' with binding 'x' denied request: the pod holds a credential",
        'ADMISSION_DENIED',
        4,
      ],
      [403, 'violates PodSecurity "restricted:latest": privileged', 'ADMISSION_DENIED', 4],
    ])('HTTP %d %s', async (code, message, name, exitCode) => {
      server.otherwise = status(code, message)
      const error = await failureOf(cluster.patch(ref, {}))
      expect(error).toMatchObject({name: 'CageError', code: name, exitCode})
      if (code !== 401) expect(error.message).toContain(message)
      expect(JSON.stringify(error) + error.message).not.toContain('token-that-must-not-show')
    })

    it('never quote a value of a Secret', async () => {
      server.otherwise = status(422, 'Secret "s" is invalid: data: Invalid value: "secret-value"')
      const error = await failureOf(cluster.apply([secret]))
      expect(error).toMatchObject({code: 'CLUSTER_INVALID'})
      expect(error.message).toBe('cannot apply Secret n/s')
    })

    it('make hostile sentences visible', async () => {
      server.otherwise = status(422, 'bad \u001b[31mred\u202e')
      expect((await failureOf(cluster.create(pod))).message).toContain('\\u{1b}[31mred\\u{202e}')
    })

    it('from an intermediary that speaks no Kubernetes', async () => {
      server.otherwise = (_, response) => void response.writeHead(400).end('<html>secret header</html>')
      expect((await failureOf(cluster.create(pod))).message).toBe('cannot create Pod n/a')
    })

    it('nobody listens', async () => {
      await server.stop()
      const error = await failureOf(cluster.get(ref))
      expect(error).toMatchObject({
        code: 'CLUSTER_UNREACHABLE',
        exitCode: 3,
        hints: [expect.stringContaining('cage up')],
      })
      expect(error.message).toMatch(
        /^cannot read Pod n\/a: the API server at http:\/\/127.* does not answer \(ECONNREFUSED\)$/,
      )
      server = await FakeApiServer.start()
    })

    it('pass when reading, applying and deleting is tried again', async () => {
      server.script.push(drop, status(503, 'etcd leader changed'), status(429, 'too many'), json(pod))
      await expect(cluster.get(ref)).resolves.toEqual(pod)
      server.script.push(drop, json(pod))
      await expect(cluster.apply([pod])).resolves.toBeUndefined()
      server.script.push(drop, json(pod))
      await expect(cluster.delete(ref)).resolves.toBe(true)
    })

    it('stay when creating: it might have happened', async () => {
      server.script.push(drop, json(pod, 201))
      await expect(cluster.create(pod)).rejects.toMatchObject({code: 'CLUSTER_UNREACHABLE'})
      expect(server.requests).toHaveLength(1)
    })

    it('end when the person interrupts, also between attempts', async () => {
      server.otherwise = status(503, 'starting')
      const controller = new AbortController()
      setTimeout(() => controller.abort(), 100)
      await expect(cluster.get(ref, {signal: controller.signal})).rejects.toMatchObject({
        code: 'INTERRUPTED',
        exitCode: 130,
      })
    })
  })

  describe('waiting', () => {
    const phase = (value: string): KubeObject => ({...pod, status: {phase: value}})
    const isRunning = (object: KubeObject | undefined) =>
      (object?.['status'] as {phase?: string} | undefined)?.phase === 'Running'
    const options = {what: 'pod a runs', deadlineMs: 10_000}

    it('sees the present state first', async () => {
      server.script.push(json(phase('Running')))
      await expect(cluster.waitFor(ref, isRunning, options)).resolves.toMatchObject({
        status: {phase: 'Running'},
      })
      expect(server.requests).toHaveLength(1)
    })

    it('watches from the version it has read', async () => {
      server.script.push(
        json({...phase('Pending'), metadata: {...pod.metadata, resourceVersion: '7'}}),
        watch({type: 'MODIFIED', object: phase('Pending')}, {type: 'MODIFIED', object: phase('Running')}),
      )
      await cluster.waitFor(ref, isRunning, options)
      expect(server.requests[1]?.url).toBe(
        '/api/v1/namespaces/n/pods?watch=true&fieldSelector=metadata.name%3Da&timeoutSeconds=20&resourceVersion=7',
      )
    })

    it.each([
      ['the watch ends', watch()],
      ['the version is expired', status(410, 'too old')],
      ['the watch says so itself', watch({type: 'ERROR', object: {code: 410}})],
      ['the server restarts', drop],
      [
        'the watch breaks in a line',
        ((_, response) => {
          response.writeHead(200)
          response.write('{"type":"MODI')
          setTimeout(() => response.socket?.destroy(), 20)
        }) satisfies Parameters<FakeApiServer['script']['push']>[0],
      ],
    ])('begins anew when %s', async (_, answer) => {
      server.script.push(json(phase('Pending')), answer, json(phase('Running')))
      await expect(cluster.waitFor(ref, isRunning, options)).resolves.toBeDefined()
    })

    it('waits for an object to appear, and to go', async () => {
      server.script.push(status(404, ''), watch({type: 'ADDED', object: phase('Running')}))
      await expect(cluster.waitFor(ref, isRunning, options)).resolves.toBeDefined()
      server.script.push(json(pod), watch({type: 'DELETED', object: pod}))
      await expect(cluster.waitFor(ref, (object) => !object, options)).resolves.toBeUndefined()
    })

    it('ends with a name when the deadline passes', async () => {
      server.script.push(json(phase('Pending')))
      server.otherwise = (_, response) => response.writeHead(200).flushHeaders()
      const waiting = cluster.waitFor(ref, isRunning, {what: 'pod a runs', deadlineMs: 300, hints: ['Look.']})
      await expect(waiting).rejects.toMatchObject({
        code: 'CLUSTER_DEADLINE',
        exitCode: 5,
        message: 'not within 0 s: pod a runs',
        hints: ['Look.'],
      })
    })

    it('ends with what the predicate throws', async () => {
      server.script.push(json(phase('Failed')))
      const failed = () => {
        throw new Error('the pod failed')
      }
      await expect(cluster.waitFor(ref, failed, options)).rejects.toThrow('the pod failed')
    })

    it('ends at a refusal', async () => {
      server.otherwise = status(403, 'no')
      await expect(cluster.waitFor(ref, isRunning, options)).rejects.toMatchObject({
        code: 'CLUSTER_FORBIDDEN',
      })
    })

    it('ends when interrupted', async () => {
      server.script.push(json(phase('Pending')))
      server.otherwise = (_, response) => response.writeHead(200).flushHeaders()
      const controller = new AbortController()
      setTimeout(() => controller.abort(), 100)
      await expect(
        cluster.waitFor(ref, isRunning, {...options, signal: controller.signal}),
      ).rejects.toMatchObject({code: 'INTERRUPTED'})
    })
  })

  describe('logs', () => {
    it('are asked for as wanted and copied', async () => {
      server.otherwise = (_, response) => void response.end('one\ntwo\n')
      const out = new PassThrough()
      await cluster.logs(
        {namespace: 'n', pod: 'a', container: 'c', follow: true, tail: 5, since: '2026-01-01T00:00:00Z'},
        out,
      )
      expect(String(out.read())).toBe('one\ntwo\n')
      expect(out.writableEnded).toBe(false)
      expect(server.requests[0]?.url).toBe(
        '/api/v1/namespaces/n/pods/a/log?container=c&follow=true&sinceTime=2026-01-01T00%3A00%3A00Z&tailLines=5',
      )
    })

    it('end quietly when the reader goes away', async () => {
      server.otherwise = (_, response) => void response.writeHead(200).write('x'.repeat(1000))
      const out = new Writable({write: (_chunk, _encoding, done) => done(new Error('EPIPE'))})
      await expect(
        cluster.logs({namespace: 'n', pod: 'a', container: 'c', follow: true}, out),
      ).resolves.toBeUndefined()
    })

    it('end when interrupted', async () => {
      server.otherwise = (_, response) => void response.writeHead(200).write('x')
      const controller = new AbortController()
      setTimeout(() => controller.abort(), 100)
      const logs = cluster.logs(
        {namespace: 'n', pod: 'a', container: 'c', follow: true, signal: controller.signal},
        new PassThrough(),
      )
      await expect(logs).rejects.toMatchObject({code: 'INTERRUPTED'})
    })
  })

  it('tells its version and readiness', async () => {
    server.script.push(json({gitVersion: 'v1.36.3', major: '1', minor: '36+'}))
    await expect(cluster.version()).resolves.toEqual({gitVersion: 'v1.36.3', major: 1, minor: 36})
    server.script.push((_, response) => void response.end('ok'))
    await expect(cluster.ready()).resolves.toBe(true)
    server.script.push(status(500, 'etcd'))
    await expect(cluster.ready()).resolves.toBe(false)
  })

  it('tells what its nodes can do', async () => {
    server.script.push(
      json({
        items: [
          {
            metadata: {name: 'one'},
            status: {
              conditions: [{type: 'Ready', status: 'True'}],
              addresses: [
                {type: 'Hostname', address: 'one'},
                {type: 'InternalIP', address: '10.0.0.1'},
              ],
              nodeInfo: {
                kubeletVersion: 'v1.36.3',
                containerRuntimeVersion: 'containerd://2.4.2',
                architecture: 'arm64',
              },
              runtimeHandlers: [
                {name: 'other', features: {}},
                {name: '', features: {userNamespaces: true}},
              ],
            },
          },
          {metadata: {name: 'two'}, status: {}},
        ],
      }),
    )
    await expect(cluster.nodes()).resolves.toEqual([
      {
        name: 'one',
        ready: true,
        internalIp: '10.0.0.1',
        kubelet: 'v1.36.3',
        runtime: 'containerd://2.4.2',
        userNamespaces: true,
        architecture: 'arm64',
      },
      {
        name: 'two',
        ready: false,
        internalIp: '',
        kubelet: '',
        runtime: '',
        userNamespaces: false,
        architecture: '',
      },
    ])
  })
})

describe('a kubeconfig', () => {
  it('that is missing or has no such context is said so', async () => {
    const server = await FakeApiServer.start()
    await expect(connect({kubeconfig: '/nonexistent/config'})).rejects.toMatchObject({
      code: 'KUBECONFIG_INVALID',
      exitCode: 3,
    })
    await expect(connect({kubeconfig: server.kubeconfig(), context: 'team'})).rejects.toThrow(
      /no usable context "team"/,
    )
    await server.stop()
  })
})
