import {createHash} from 'node:crypto'
import {CageError} from '../core/errors.js'
import type {KubeObject} from '../core/kube-object.js'
import {clusterNames, container, dispatcherContainer, dispatcherPort, label} from '../core/layout.js'
import {dispatcherClaim, dispatcherShape} from './dispatcher-shape.js'
import {parseObjects} from './objects.js'
import {checkDispatcher} from './pod-invariants.js'
import type {ClusterTraits} from './pod-shape.js'
import {containerSpec, podSettings, volumeSpec, type Limits, type PodValues} from './pod-spec.js'
import {bytesQuantity, MiB} from './quantity.js'
import {Templates} from './templates.js'

export interface DispatcherView {
  projectId: string
  traits: ClusterTraits
  /** `cage.local/dispatcher:<hash>` */
  image: string
  /** Ed25519 public key of the project, SPKI DER, base64 */
  grantKey: string
  /** of git.cage.internal, signed by the project's CA, PEM */
  tls: {certificate: string; key: string}
  /** size of the volume of the hosted repositories */
  diskBytes: number
  /** what gate reaches, exact, `ADDRESS/tcp|udp/PORT`: resolver and upstreams; nothing for a hosted one */
  fenceAllow: readonly string[]
  /** TCP ports at public addresses, for upstreams that are found by name */
  fencePublic: readonly number[]
}

/**
 * Secret, claim, Service, Deployment, in the order to apply them. The Service names no address: the cluster gives one
 * when it is first applied and keeps it.
 */
export function dispatcherObjects(
  view: DispatcherView,
  templates: Templates = new Templates(),
): KubeObject[] {
  const {traits} = view
  const values: PodValues = {
    images: {dispatcher: view.image},
    env: {
      [container.fence]: {
        CAGE_FENCE_ALLOW: view.fenceAllow.join(' '),
        CAGE_FENCE_PUBLIC: view.fencePublic.join(' '),
      },
      [dispatcherContainer.gate]: {CAGE_GRANT_KEY: view.grantKey, CAGE_PROJECT_ID: view.projectId},
      [dispatcherContainer.git]: {CAGE_PROJECT_ID: view.projectId},
    },
    limits: {
      [container.fence]: {...small, memoryBytes: 64 * MiB},
      [dispatcherContainer.gate]: {...small, memoryBytes: 512 * MiB},
      // Packs are indexed and scanned here.
      [dispatcherContainer.git]: {...small, cpu: 2, memoryBytes: 2048 * MiB},
    },
    memory: {run: MiB, tmp: 64 * MiB},
    task: '',
  }
  const labels = {[label.component]: dispatcherShape.component, [label.project]: view.projectId}
  const [fence, gate, git] = [...dispatcherShape.init, ...dispatcherShape.main].map((shape) =>
    containerSpec(shape, values, traits),
  )
  const text = templates.render('dispatcher.yaml', {
    ...podSettings(dispatcherShape, traits),
    name: clusterNames.dispatcher,
    namespace: clusterNames.dispatcherNamespace(view.projectId),
    labels,
    tlsName: clusterNames.dispatcherTls,
    tls: {
      'tls.crt': Buffer.from(view.tls.certificate).toString('base64'),
      'tls.key': Buffer.from(view.tls.key).toString('base64'),
    },
    tlsHash: createHash('sha256').update(view.tls.certificate).digest('hex').slice(0, 16),
    claim: dispatcherClaim,
    storageClass: traits.storageClass ?? null,
    size: bytesQuantity(view.diskBytes),
    port: dispatcherPort.gate,
    fence,
    gate,
    git,
    volumes: dispatcherShape.volumes.map((volume) => volumeSpec(volume, values)),
  })
  const objects = parseObjects('dispatcher.yaml', text, [
    'Secret',
    'PersistentVolumeClaim',
    'Service',
    'Deployment',
  ])
  const deployment = objects.at(-1)
  if (!deployment)
    throw new CageError('the template dispatcher.yaml renders nothing', {code: 'MANIFEST_INVALID'})
  checkDispatcher(deployment, traits)
  return objects
}

const small: Limits = {cpu: 1, memoryBytes: 256 * MiB, requestCpu: 0.02, requestMemoryBytes: 64 * MiB}
