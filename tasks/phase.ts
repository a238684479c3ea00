import type {KubeObject} from '../core/kube-object.js'
import {container} from '../core/layout.js'
import type {TaskPhase, TaskRecord} from './task.js'

export interface ContainerStatus {
  name: string
  restartCount?: number
  state?: {
    waiting?: {reason?: string; message?: string}
    running?: {startedAt?: string}
    terminated?: TerminatedState
  }
  lastState?: {terminated?: TerminatedState}
}

interface TerminatedState {
  exitCode: number
  /** RFC 3339, whole seconds */
  finishedAt?: string
  reason?: string
  message?: string
}

export interface TaskPod extends KubeObject {
  status?: {
    phase?: string
    reason?: string
    message?: string
    initContainerStatuses?: ContainerStatus[]
    containerStatuses?: ContainerStatus[]
    conditions?: {type: string; status: string; reason?: string; message?: string}[]
  }
}

export interface PhaseView {
  phase: TaskPhase
  /** what is going on or went wrong, one line; may hold text of the pod */
  reason?: string
  /** the container that failed; its log tells more */
  failed?: {
    container: string
    exitCode?: number
    /** its last run is over and the next one is being made */
    previous: boolean
    /** it never ran: its image or its configuration is not usable */
    broken?: boolean
  }
  /** the container that is at work before the agent's */
  step?: string
  /** its volume is bound to nodes that take no pods now: only somebody who brings one of them back mends that */
  stranded?: boolean
}

/** Reasons that no waiting mends. */
const BROKEN = new Set([
  'CreateContainerConfigError',
  'CreateContainerError',
  'ErrImageNeverPull',
  'ErrImagePull',
  'ImageInspectError',
  'ImagePullBackOff',
  'InvalidImageName',
  'RunContainerError',
  'StartError',
])

/** Reasons of an end that nobody saw: the machine was switched off under the container, and the kubelet starts it again. */
const UNSEEN = new Set(['Unknown', 'ContainerStatusUnknown'])

const REASON_LENGTH = 240
/** As schedulers up to 1.34 and after say it. */
const STRANDED = /volume node affinity conflict|didn't match PersistentVolume's node affinity/

/** The one place that says what a record and a pod together mean. */
export function phaseOf(wanted: TaskRecord['wanted'], pod: TaskPod | undefined): PhaseView {
  if (wanted === 'stopped') return {phase: 'Stopped'}
  if (wanted === 'removing') return {phase: 'Failed', reason: 'its removal was interrupted'}
  if (!pod) {
    return wanted === 'creating'
      ? {phase: 'Pending', reason: 'its pod is not there yet'}
      : {phase: 'Failed', reason: 'its pod is gone'}
  }
  const {status = {}} = pod
  if (pod.metadata.deletionTimestamp !== undefined)
    return {phase: 'Failed', reason: 'its pod is being deleted'}
  if (status.phase === 'Failed' || status.phase === 'Succeeded')
    return {
      phase: 'Failed',
      reason: status.reason ?? 'its pod ended',
      ...failedOf(pod),
      // Why it was evicted; its containers only know that they were killed.
      ...(status.message === undefined ? {} : {reason: oneLine(status.message)}),
    }
  return startedView(pod)
}

function startedView(pod: TaskPod): PhaseView {
  const {initContainerStatuses: init = [], containerStatuses: main = [], conditions = []} = pod.status ?? {}
  const failure = failedOf(pod)
  const agent = main.find(({name}) => name === container.agent)
  if (agent?.state?.running) return {phase: 'Running'}
  if (failure.failed) return {phase: 'Failed', ...failure}
  if ([...init, ...main].some(({state}) => UNSEEN.has(state?.terminated?.reason ?? '')))
    return {phase: 'Pending', reason: 'its machine was switched off: it is being started again'}
  const scheduled = conditions.find(({type}) => type === 'PodScheduled')
  if (scheduled?.status === 'False')
    return {
      phase: 'Pending',
      reason: scheduled.message ?? 'no place on the machine yet',
      ...(STRANDED.test(scheduled.message ?? '') ? {stranded: true} : {}),
    }
  const step = [...init].reverse().find(({state}) => state?.running ?? state?.terminated)
  if (!step) return {phase: 'Pending', reason: 'its volumes and its network are being made'}
  return {phase: 'Preparing', step: nextStep(init, step.name)}
}

/** The container that is at work: the last one that runs to an end, or what follows the sidecar. */
function nextStep(init: readonly ContainerStatus[], last: string): string {
  const order = init.map(({name}) => name)
  const at = order.indexOf(last)
  const started = init[at]
  const done =
    started?.state?.terminated !== undefined || (last === container.sidecar && at < order.length - 1)
  return done ? (order[at + 1] ?? container.agent) : last
}

function failedOf(pod: TaskPod): Pick<PhaseView, 'reason' | 'failed'> {
  const {initContainerStatuses: init = [], containerStatuses: main = []} = pod.status ?? {}
  for (const status of [...init, ...main]) {
    const {name, state, lastState} = status
    const waiting = state?.waiting
    if (waiting?.reason !== undefined && BROKEN.has(waiting.reason)) {
      const why = [waiting.reason, waiting.message].filter(Boolean).join(': ')
      return {
        reason: `${name} cannot start: ${oneLine(why)}`,
        failed: {container: name, previous: false, broken: true},
      }
    }
    const ended = state?.terminated ?? (state?.running ? undefined : lastState?.terminated)
    // The sidecar restarts by itself and the agent behind it goes on.
    if (!ended || ended.exitCode === 0 || UNSEEN.has(ended.reason ?? '')) continue
    const why = oneLine(ended.message ?? ended.reason ?? '')
    return {
      reason: `${name} ended with exit code ${ended.exitCode}${why === '' ? '' : `: ${why}`}`,
      failed: {container: name, exitCode: ended.exitCode, previous: state?.terminated === undefined},
    }
  }
  return {}
}

/** The end of what a container said last: its lines side by side. */
function oneLine(text: string): string {
  const lines = text.split('\n').map((line) => line.trim())
  const joined = lines.filter((line) => line !== '').join(' | ')
  return joined.length > REASON_LENGTH ? `…${joined.slice(-REASON_LENGTH)}` : joined
}
