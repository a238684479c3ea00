import {CageError, messageOf} from '../../core/errors.js'
import type {KubeObject} from '../../core/kube-object.js'
import {uid} from '../../core/layout.js'
import {callOptions, type TaskContext} from '../context.js'
import type {VerifyCase} from './judge.js'

interface Container {
  name: string
  image: string
  securityContext: Record<string, unknown>
  [field: string]: unknown
}
interface Spec {
  initContainers: Container[]
  containers: Container[]
  volumes: object[]
  [field: string]: unknown
}
export type AdmittedPod = KubeObject & {spec: Spec}

interface Change {
  id: string
  attack: string
  change: (spec: Spec) => void
}

const agent = (spec: Spec, change: (container: Container) => void) => spec.containers.forEach(change)

/** Pods that whoever may create pods in the tasks' namespace would like to have. */
const changes: readonly Change[] = [
  {
    id: 'OPEN-13.admission',
    attack: 'the task’s pod without its fence',
    change: (spec) => void spec.initContainers.shift(),
  },
  {
    id: 'POD-2.admission',
    attack: 'an agent with the sidecar’s user, which the fence lets out',
    change: (spec) => agent(spec, (one) => (one.securityContext['runAsUser'] = uid.sidecar)),
  },
  {
    id: 'POD-7.admission',
    attack: 'an agent that is privileged',
    change: (spec) =>
      agent(spec, (one) =>
        Object.assign(one.securityContext, {privileged: true, allowPrivilegeEscalation: true}),
      ),
  },
  {
    id: 'POD-13.admission',
    attack: 'a folder of the machine as volume',
    change: (spec) => void spec.volumes.push({name: 'host', hostPath: {path: '/'}}),
  },
  {
    id: 'ID-10.admission',
    attack: 'a credential of the cluster',
    change: (spec) => void (spec['automountServiceAccountToken'] = true),
  },
  {
    id: 'HOST-4.admission',
    attack: 'another image',
    change: (spec) => agent(spec, (one) => (one.image = 'registry.example/evil:1')),
  },
]

/** Tried as dry runs: nothing is ever made. The control is the pod as it is. */
export async function admissionCases(
  context: TaskContext,
  pod: AdmittedPod | undefined,
): Promise<VerifyCase[]> {
  if (!pod) throw new CageError('the throwaway task lost its pod', {code: 'VERIFY_FAILED'})
  const admitted = (change: Change['change']) => dryRun(context, pod, change)
  const unchanged = await admitted(() => undefined)
  const base = {where: 'cluster API' as const}
  return [
    {
      ...base,
      id: 'CONTROL-admission',
      class: 'CONTROL',
      attack: 'the task’s pod as it is',
      expect: 'admitted',
      got: unchanged ?? 'admitted',
      ok: unchanged === undefined,
    },
    ...(await Promise.all(
      changes.map(async ({id, attack, change}): Promise<VerifyCase> => {
        const refusal = await admitted(change)
        return {
          ...base,
          id,
          class: id.split('-')[0] ?? id,
          attack,
          expect: 'refused',
          got: refusal === undefined ? 'admitted' : 'refused',
          ok: refusal !== undefined,
        }
      }),
    )),
  ]
}

/** Why it was refused, or undefined when it would be admitted; whatever is no refusal is thrown. */
async function dryRun(
  context: TaskContext,
  {apiVersion, kind, metadata, spec}: AdmittedPod,
  change: Change['change'],
): Promise<string | undefined> {
  const {name, namespace, labels, annotations} = metadata
  const next = structuredClone(spec)
  delete next['nodeName']
  change(next)
  const object = {apiVersion, kind, metadata: {name, namespace, labels, annotations}, spec: next}
  try {
    await context.cluster.create(object as KubeObject, {dryRun: true, ...callOptions(context)})
    return undefined
  } catch (error) {
    if (error instanceof CageError && error.code === 'ADMISSION_DENIED') return messageOf(error)
    throw error
  }
}
