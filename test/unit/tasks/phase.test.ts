import {describe, expect, it} from '@jest/globals'
import {phaseOf, type ContainerStatus, type TaskPod} from '../../../tasks/phase.js'

const pod = (status: TaskPod['status'], deletionTimestamp?: string): TaskPod => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: {name: 'task-a', ...(deletionTimestamp === undefined ? {} : {deletionTimestamp})},
  ...(status ? {status} : {}),
})
const running = (name: string): ContainerStatus => ({name, state: {running: {}}})
const ended = (name: string, exitCode = 0, message?: string): ContainerStatus => ({
  name,
  state: {terminated: {exitCode, ...(message === undefined ? {} : {message})}},
})
const waiting = (name: string, reason: string, message?: string): ContainerStatus => ({
  name,
  state: {waiting: {reason, ...(message === undefined ? {} : {message})}},
})
const init = ['fence', 'sidecar', 'probe', 'clone']
const initialising = (...first: ContainerStatus[]): ContainerStatus[] => [
  ...first,
  ...init.slice(first.length).map((name) => waiting(name, 'PodInitializing')),
]
const agentWaits = [waiting('agent', 'PodInitializing')]

describe('phaseOf', () => {
  it.each([
    ['creating', undefined, 'Pending'],
    ['running', undefined, 'Failed'],
    ['stopped', undefined, 'Stopped'],
    ['removing', undefined, 'Failed'],
    ['running', pod(undefined), 'Pending'],
    ['stopped', pod({phase: 'Running'}), 'Stopped'],
  ] as const)('%s without a running pod is %s', (wanted, object, phase) => {
    expect(phaseOf(wanted, object).phase).toBe(phase)
  })

  it.each([
    '0/2 nodes are available: 1 node(s) had volume node affinity conflict, 1 node(s) were unschedulable.',
    "0/2 nodes are available: 1 node(s) didn't match PersistentVolume's node affinity, 1 node(s) were unschedulable.",
  ])('does not wait for a volume that lies elsewhere: %s', (message) => {
    const conditions = [{type: 'PodScheduled', status: 'False', message}]
    expect(phaseOf('running', pod({phase: 'Pending', conditions}))).toMatchObject({stranded: true})
  })

  it.each(['Unknown', 'ContainerStatusUnknown'])('waits after an end that nobody saw (%s)', (reason) => {
    const lost = (name: string): ContainerStatus => ({name, state: {terminated: {exitCode: 255, reason}}})
    const before: ContainerStatus = {...running('agent'), lastState: {terminated: {exitCode: 255, reason}}}
    const containers = {initContainerStatuses: [ended('fence'), lost('sidecar')]}
    expect(
      phaseOf('running', pod({phase: 'Running', ...containers, containerStatuses: [lost('agent')]})),
    ).toEqual({phase: 'Pending', reason: expect.stringContaining('switched off')})
    expect(phaseOf('running', pod({phase: 'Running', ...containers, containerStatuses: [before]}))).toEqual({
      phase: 'Running',
    })
    const own = [lost('sidecar'), ended('clone', 1, 'no such branch')]
    expect(
      phaseOf('running', pod({phase: 'Pending', initContainerStatuses: own, containerStatuses: agentWaits})),
    ).toMatchObject({phase: 'Failed', reason: expect.stringContaining('no such branch')})
  })

  it('waits for a place on the machine', () => {
    const conditions = [{type: 'PodScheduled', status: 'False', message: '0/1 nodes are available'}]
    expect(phaseOf('running', pod({phase: 'Pending', conditions}))).toEqual({
      phase: 'Pending',
      reason: '0/1 nodes are available',
    })
  })

  it.each([
    ['fence', [running('fence')]],
    ['sidecar', [ended('fence')]],
    ['sidecar', [ended('fence'), waiting('sidecar', 'PodInitializing')]],
    ['probe', [ended('fence'), running('sidecar')]],
    ['clone', [ended('fence'), running('sidecar'), ended('probe')]],
    ['clone', [ended('fence'), running('sidecar'), ended('probe'), running('clone')]],
    ['agent', [ended('fence'), running('sidecar'), ended('probe'), ended('clone')]],
  ])('is preparing at %s', (step, first) => {
    const status = {
      phase: 'Pending',
      initContainerStatuses: initialising(...first),
      containerStatuses: agentWaits,
    }
    expect(phaseOf('running', pod(status))).toMatchObject({phase: 'Preparing', step})
  })

  it('runs once the agent’s container does, also while the sidecar restarts', () => {
    const sidecar: ContainerStatus = {
      ...waiting('sidecar', 'CrashLoopBackOff'),
      lastState: {terminated: {exitCode: 137}},
    }
    const status = {
      phase: 'Running',
      initContainerStatuses: [ended('fence'), sidecar, ended('probe'), ended('clone')],
      containerStatuses: [running('agent')],
    }
    expect(phaseOf('running', pod(status))).toEqual({phase: 'Running'})
  })

  it('fails with the container, its exit code and its last words', () => {
    const status = {
      phase: 'Pending',
      initContainerStatuses: initialising(
        ended('fence'),
        running('sidecar'),
        ended('probe', 3, 'udp leaks\n'),
      ),
      containerStatuses: agentWaits,
    }
    expect(phaseOf('running', pod(status))).toEqual({
      phase: 'Failed',
      reason: 'probe ended with exit code 3: udp leaks',
      failed: {container: 'probe', exitCode: 3, previous: false},
    })
  })

  it('fails on a container that is about to be tried again', () => {
    const again: ContainerStatus = {
      ...waiting('clone', 'CrashLoopBackOff'),
      lastState: {terminated: {exitCode: 1}},
    }
    const status = {
      phase: 'Pending',
      initContainerStatuses: [ended('fence'), running('sidecar'), ended('probe'), again],
      containerStatuses: agentWaits,
    }
    expect(phaseOf('running', pod(status))).toMatchObject({
      phase: 'Failed',
      failed: {container: 'clone', exitCode: 1, previous: true},
    })
  })

  it.each(['ErrImageNeverPull', 'CreateContainerConfigError', 'RunContainerError'])(
    'fails on %s',
    (reason) => {
      const status = {initContainerStatuses: [waiting('fence', reason, 'why')], containerStatuses: agentWaits}
      expect(phaseOf('running', pod(status))).toMatchObject({
        phase: 'Failed',
        reason: `fence cannot start: ${reason}: why`,
        failed: {container: 'fence'},
      })
    },
  )

  it('fails when the pod was evicted or is being deleted', () => {
    expect(
      phaseOf('running', pod({phase: 'Failed', reason: 'Evicted', message: 'The node was low on disk'})),
    ).toEqual({
      phase: 'Failed',
      reason: 'The node was low on disk',
    })
    expect(phaseOf('running', pod({phase: 'Running'}, '2026-01-01T00:00:00Z')).phase).toBe('Failed')
  })
})
