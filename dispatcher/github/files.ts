import type {IncomingMessage, ServerResponse} from 'node:http'
import {pipeline} from 'node:stream/promises'
import {Transform} from 'node:stream'
import {CageError} from '../../core/errors.js'
import {uncached} from '../socket-api.js'
import {passedHeaders} from './answers.js'
import type {ApiClient, ApiRequest} from './api-client.js'
import {apiHost} from './app-tokens.js'

/** Where GitHub keeps logs. Their addresses carry a signature, so they are fetched here and never passed on. */
const fileHosts = /^(?:[a-z0-9-]+\.)+(?:actions\.githubusercontent\.com|blob\.core\.windows\.net)$/
const MAX_FILE = 256 * 1024 * 1024
const MAX_STEPS = 3

/** Answers with the file that GitHub names by a redirect. Errors: GITHUB_UNREACHABLE, GITHUB_CREDENTIAL_REFUSED, GITHUB_FILE_ELSEWHERE */
export async function relayFile(
  api: ApiClient,
  request: ApiRequest,
  response: ServerResponse,
): Promise<void> {
  const first = await api.open(apiHost, request)
  if (first.statusCode === 401) {
    first.destroy()
    throw new CageError('GitHub does not accept the credential of this project; try again', {
      code: 'GITHUB_CREDENTIAL_REFUSED',
    })
  }
  let answer = first
  for (let step = 0; isRedirect(answer) && step < MAX_STEPS; step++) {
    const location = answer.headers.location ?? ''
    answer.resume()
    if (!URL.canParse(location)) throw elsewhere()
    const {protocol, hostname, port, pathname, search} = new URL(location)
    if (protocol !== 'https:' || port !== '' || !fileHosts.test(hostname)) throw elsewhere()
    const {signal} = request
    const target = `${pathname}${search}`
    // No credential goes along: the address is one.
    answer = await api.open(hostname, {method: 'GET', target, ...(signal ? {signal} : {})})
  }
  if (isRedirect(answer)) throw elsewhere()
  const status = answer.statusCode ?? 502
  if (answer === first) response.writeHead(status, passedHeaders(answer.headers, request.target))
  else
    response.writeHead(status, {
      ...uncached,
      'content-type': answer.headers['content-type'] ?? 'application/octet-stream',
    })
  await pipeline(answer, capped(), response).catch(() => response.destroy())
}

function isRedirect({statusCode = 0}: IncomingMessage): boolean {
  return statusCode >= 300 && statusCode < 400 && statusCode !== 304
}

function capped(): Transform {
  let bytes = 0
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      bytes += chunk.length
      if (bytes > MAX_FILE) done(new Error('the file is too large'))
      else done(null, chunk)
    },
  })
}

function elsewhere(): CageError {
  return new CageError('GitHub keeps this file where the dispatcher does not go', {
    code: 'GITHUB_FILE_ELSEWHERE',
  })
}
