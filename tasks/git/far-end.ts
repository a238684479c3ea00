import type {Readable, Writable} from 'node:stream'
import {clusterNames, dispatcherContainer, program} from '../../core/layout.js'
import type {Cluster} from '../../kube/cluster.js'

export type GitService = 'upload-pack' | 'receive-pack'

export interface GitStreams {
  stdin: Readable
  stdout: Writable
  stderr: Writable
}

/**
 * The repository at the other end, spoken to in git's own protocol.
 * - `serve` MUST pass bytes unchanged, MUST resolve with the service's exit code and MUST NOT end the streams.
 */
export interface FarEnd {
  /** how messages name it, e.g. `the project's repository` */
  name: string
  serve(service: GitService, streams: GitStreams, signal?: AbortSignal): Promise<number>
}

/** Pod of the dispatcher that answers, looked up when it is needed: a new one has another name. */
export type DispatcherPod = () => Promise<string>

/** The project's hosted repository, as principal `operator`, through exec over the Kubernetes API. */
export function dispatcherFarEnd(
  cluster: Cluster,
  id: string,
  repository: string,
  pod: DispatcherPod,
): FarEnd {
  return {
    name: `the hosted repository ${repository}`,
    serve: async (service, streams, signal) =>
      cluster.exec({
        namespace: clusterNames.dispatcherNamespace(id),
        pod: await pod(),
        container: dispatcherContainer.git,
        argv: [
          'node',
          program.dispatcher,
          'serve',
          service,
          repository,
          ...(service === 'upload-pack' ? ['--protocol', 'version=2'] : []),
        ],
        ...streams,
        ...(signal ? {signal} : {}),
      }),
  }
}
