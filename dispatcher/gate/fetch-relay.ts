import type {IncomingMessage, ServerResponse} from 'node:http'
import {pipeline} from 'node:stream/promises'
import {uncached} from '../socket-api.js'
import {withoutOtherHosts} from '../wire/offer.js'
import type {CredentialUse} from './credential.js'
import type {UpstreamClient} from './upstream-client.js'

export interface RelayedFetch {
  /** `host/path.git` */
  repository: string
  kind: 'advertise' | 'fetch'
  use: CredentialUse
}

/**
 * One request of a fetch, passed to the upstream as a stream and back. Only what is named here goes on: the service, the
 * version of the protocol, the body. Errors: as UpstreamClient, before anything is answered.
 */
export async function relayFetch(
  client: UpstreamClient,
  {repository, kind, use}: RelayedFetch,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const gone = new AbortController()
  response.once('close', () => {
    if (!response.writableFinished) gone.abort()
  })
  const protocol = /^version=[012]$/.exec(String(request.headers['git-protocol'] ?? ''))?.[0]
  const common = {...(protocol === undefined ? {} : {'git-protocol': protocol})}
  const answer =
    kind === 'advertise'
      ? await client.ask(repository, {
          method: 'GET',
          target: '/info/refs?service=git-upload-pack',
          headers: {...common, accept: '*/*'},
          use,
          signal: gone.signal,
        })
      : await client.ask(repository, {
          method: 'POST',
          target: '/git-upload-pack',
          headers: {...common, ...bodyHeaders(request), accept: 'application/x-git-upload-pack-result'},
          body: request,
          use,
          signal: gone.signal,
        })
  const expected = `application/x-git-upload-pack-${kind === 'advertise' ? 'advertisement' : 'result'}`
  response.writeHead(200, {...uncached, 'content-type': expected})
  response.flushHeaders()
  await pipeline(kind === 'advertise' ? withoutOtherHosts(answer) : answer, response).catch(() =>
    response.destroy(),
  )
}

function bodyHeaders(request: IncomingMessage): Record<string, string> {
  const {'content-encoding': encoding, 'content-length': length} = request.headers
  return {
    'content-type': 'application/x-git-upload-pack-request',
    ...(encoding === 'gzip' ? {'content-encoding': 'gzip'} : {}),
    ...(length === undefined ? {} : {'content-length': length}),
  }
}
