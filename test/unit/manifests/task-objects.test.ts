import {describe, expect, it} from '@jest/globals'
import {bytesQuantity, cpuQuantity} from '../../../manifests/quantity.js'
import {taskConfig} from '../../../manifests/task-objects.js'
import {taskPod} from '../../../manifests/task-pod.js'
import {identity, taskPodView} from '../../support/manifest-views.js'

interface Pod {
  spec: {
    containers: {env: {name: string; value: string}[]; resources: {requests: Record<string, string>}}[]
    initContainers: {
      name: string
      resources: {requests: Record<string, string>; limits: Record<string, string>}
    }[]
  }
}

function agentEnv(env: Record<string, string>): Record<string, string> {
  const [agent] = (taskPod(taskPodView({env})) as unknown as Pod).spec.containers
  return Object.fromEntries(agent!.env.map(({name, value}) => [name, value]))
}

describe('environment of a task', () => {
  it('is not expanded by the kubelet', () => {
    expect(agentEnv({A: '$(HOME) $$ $x'})['A']).toBe('$$(HOME) $$$$ $$x')
  })

  it.each(['CAGE_REMOTE', 'CAGE_ANYTHING', 'SSL_CERT_FILE', 'HOME', 'GH_TOKEN', 'JAVA_TOOL_OPTIONS'])(
    'may not set %s',
    (name) => {
      expect(() => agentEnv({[name]: 'x', OTHER: 'y'})).toThrow(
        expect.objectContaining({code: 'ENV_RESERVED', exitCode: 2, message: expect.stringContaining(name)}),
      )
    },
  )

  it('of the project does not reach the clone, the probe or the sidecar', () => {
    const {spec} = taskPod(taskPodView({env: {GIT_CONFIG_COUNT: '1'}})) as unknown as Pod
    expect(JSON.stringify(spec.initContainers)).not.toContain('GIT_CONFIG_COUNT')
    expect(JSON.stringify(spec.containers)).toContain('GIT_CONFIG_COUNT')
  })
})

describe('resources of a task', () => {
  it('set aside so little that ten tasks fit on two cores beside the cluster', () => {
    const {spec} = taskPod(taskPodView()) as unknown as Pod
    const sidecar = spec.initContainers.find(({name}) => name === 'sidecar')!
    const cpu = (quantity: string | undefined) => Number(quantity?.replace('m', ''))
    const perTask =
      cpu(spec.containers[0]!.resources.requests['cpu']) + cpu(sidecar.resources.requests['cpu'])
    expect(perTask * 10).toBeLessThanOrEqual(200)
  })

  it('are limits and requests for every container', () => {
    const {spec} = taskPod(taskPodView()) as unknown as Pod
    for (const {resources} of [...spec.initContainers, ...spec.containers]) {
      const keys = ['cpu', 'ephemeral-storage', 'memory']
      expect(Object.keys(resources).sort()).toEqual(['limits', 'requests'])
      for (const part of Object.values(resources)) expect(Object.keys(part).sort()).toEqual(keys)
    }
  })

  it('keep /tmp within a quarter of the memory', () => {
    const tmp = (memoryBytes: number) =>
      (
        taskPod(taskPodView({limits: {cpu: 1, memoryBytes}})) as unknown as {
          spec: {volumes: {name: string; emptyDir?: {sizeLimit: string}}[]}
        }
      ).spec.volumes.find(({name}) => name === 'tmp')?.emptyDir?.sizeLimit
    expect(tmp(512 * 1024 ** 2)).toBe('128Mi')
    expect(tmp(64 * 1024 ** 3)).toBe('1Gi')
    expect(tmp(2 * 1024 ** 2)).toBe('1Mi')
  })

  it.each([
    [4 * 1024 ** 3, '4Gi'],
    [1.5 * 1024 ** 3, '1536Mi'],
    [1_000_000, '976Ki'],
  ])('write %d bytes as %s', (bytes, text) => {
    expect(bytesQuantity(bytes)).toBe(text)
  })

  it.each([
    [2, '2'],
    [0.5, '500m'],
    [0.0104, '10m'],
  ])('write %d cores as %s', (cores, text) => {
    expect(cpuQuantity(cores)).toBe(text)
  })

  it.each([0, -1, Number.NaN, 1.5, Infinity])('refuse %d bytes', (bytes) => {
    expect(() => bytesQuantity(bytes)).toThrow(expect.objectContaining({code: 'SIZE_INVALID', exitCode: 2}))
  })

  it.each([0, -1, Number.NaN, Infinity])('refuse %d cores', (cores) => {
    expect(() => cpuQuantity(cores)).toThrow(expect.objectContaining({code: 'SIZE_INVALID'}))
  })
})

describe('files of a task', () => {
  it('keep bytes as bytes', () => {
    const config = taskConfig({
      ...identity,
      revision: 1,
      record: '{}',
      files: {argv: Buffer.from([0, 255, 10])},
    })
    expect(config['binaryData']).toEqual({argv: Buffer.from([0, 255, 10]).toString('base64')})
  })

  it('that do not fit are refused before anything exists', () => {
    const files = {prompt: 'x'.repeat(1024 ** 2)}
    expect(() => taskConfig({...identity, revision: 1, record: '{}', files})).toThrow(
      expect.objectContaining({code: 'TASK_FILES_TOO_LARGE', exitCode: 2}),
    )
  })
})
