import {createReadStream} from 'node:fs'
import {request as http, type IncomingMessage} from 'node:http'
import {request as https} from 'node:https'
import {text} from 'node:stream/consumers'
import {pipeline} from 'node:stream/promises'
import {CageError, ExitCode, messageOf} from '../../core/errors.js'
import type {RegistryAccount} from './account.js'
import {authorize} from './authorization.js'
import type {RegistryPlace} from './reference.js'

export const manifestType = 'application/vnd.oci.image.manifest.v1+json'
const IDLE_MS = 60_000

/** Bytes to push: from memory or from a file of that many bytes. */
export type Content = Buffer | {path: string; size: number}

interface Call {
  /** whose rights it needs; absent = none's */
  repository?: string
  method: 'GET' | 'HEAD' | 'POST' | 'PUT'
  url: URL
  headers?: Record<string, string>
  body?: Content
  signal: AbortSignal
}

/**
 * The part of the OCI distribution API (distribution-spec 1.1) that pushing needs. Redirects are not followed, and the
 * account goes to the registry's own origin and the place for tokens that it names.
 * Errors: REGISTRY_UNREACHABLE, REGISTRY_DENIED (exit 3), REGISTRY_FAILED; none shows the account.
 */
export class Registry {
  private readonly place: RegistryPlace
  private readonly account: RegistryAccount | undefined
  /** by repository: the last answer to what the registry asked for */
  private readonly authorizations = new Map<string, string>()

  constructor(place: RegistryPlace, account?: RegistryAccount) {
    this.place = place
    this.account = account
  }

  /** Throws when the registry does not speak the API, or not to this account. */
  async ping(signal: AbortSignal): Promise<void> {
    await this.call({method: 'GET', url: this.url(''), signal}, [200])
  }

  async hasManifest(name: string, tag: string, signal: AbortSignal): Promise<boolean> {
    const repository = this.name(name)
    const url = this.url(`${repository}/manifests/${tag}`)
    const headers = {accept: manifestType}
    return (await this.call({repository, method: 'HEAD', url, headers, signal}, [200, 404])).status === 200
  }

  async hasBlob(name: string, digest: string, signal: AbortSignal): Promise<boolean> {
    const repository = this.name(name)
    const url = this.url(`${repository}/blobs/${digest}`)
    // Where it would be read from is not asked: that it is there is told.
    return (await this.call({repository, method: 'HEAD', url, signal}, [200, 302, 307, 404])).status !== 404
  }

  /** Monolithic upload; the registry checks the digest. */
  async putBlob(name: string, digest: string, body: Content, signal: AbortSignal): Promise<void> {
    const repository = this.name(name)
    const begin = this.url(`${repository}/blobs/uploads/`)
    const {location} = await this.call({repository, method: 'POST', url: begin, signal}, [202])
    const url = new URL(location ?? '', begin)
    if (location === undefined || url.origin !== begin.origin)
      throw this.failed(`names no place of its own for ${name}`)
    url.searchParams.set('digest', digest)
    const headers = {'content-type': 'application/octet-stream'}
    await this.call({repository, method: 'PUT', url, headers, body, signal}, [201])
  }

  async putManifest(name: string, tag: string, body: Buffer, signal: AbortSignal): Promise<void> {
    const repository = this.name(name)
    const url = this.url(`${repository}/manifests/${tag}`)
    const headers = {'content-type': manifestType}
    await this.call({repository, method: 'PUT', url, headers, body, signal}, [201])
  }

  private name(image: string): string {
    return `${this.place.path}${image}`
  }

  private url(path: string): URL {
    return new URL(`/v2/${path}`, this.place.origin)
  }

  private async call(call: Call, expected: readonly number[]): Promise<{status: number; location?: string}> {
    let response = await this.send(call)
    const challenge = response.headers['www-authenticate']
    if (response.statusCode === 401 && challenge !== undefined && (await this.answer(challenge, call))) {
      response.resume()
      response = await this.send(call)
    }
    const status = response.statusCode ?? 0
    const said = await text(response).catch(() => '')
    if (status === 401 || status === 403) throw this.denied(call, status)
    if (!expected.includes(status))
      throw this.failed(`answers ${call.method} ${call.url.pathname} with HTTP ${status}${reason(said)}`)
    const {location} = response.headers
    return {status, ...(location === undefined ? {} : {location})}
  }

  /** False when nothing can be answered. */
  private async answer(challenge: string, {repository, signal}: Call): Promise<boolean> {
    const {origin} = this.place
    const asked = {origin, signal, ...(repository === undefined ? {} : {repository})}
    const authorization = await authorize(challenge, this.account, asked)
    if (authorization !== undefined) this.authorizations.set(repository ?? '', authorization)
    return authorization !== undefined
  }

  private async send({repository = '', method, url, headers, body, signal}: Call): Promise<IncomingMessage> {
    const authorization = this.authorizations.get(repository)
    const length = body === undefined ? 0 : Buffer.isBuffer(body) ? body.length : body.size
    const options = {
      method,
      signal,
      timeout: IDLE_MS,
      headers: {
        ...headers,
        ...(method === 'GET' || method === 'HEAD' ? {} : {'content-length': String(length)}),
        ...(authorization === undefined ? {} : {authorization}),
      },
    }
    const sent = (url.protocol === 'http:' ? http : https)(url, options)
    sent.on('timeout', () => sent.destroy(new Error(`no answer within ${IDLE_MS / 1000} s`)))
    const answer = new Promise<IncomingMessage>((resolve, reject) => {
      sent.on('response', resolve)
      sent.on('error', reject)
    })
    try {
      if (body === undefined || Buffer.isBuffer(body)) sent.end(body)
      // An answer before the end of the body is told by `answer`.
      else pipeline(createReadStream(body.path), sent).catch(() => undefined)
      return await answer
    } catch (cause) {
      if (signal.aborted) throw cause
      throw new CageError(`the registry ${this.place.host} is not reached: ${messageOf(cause)}`, {
        code: 'REGISTRY_UNREACHABLE',
        hints: [`Try \`curl ${this.place.origin}/v2/\`; for a CA of your own set NODE_EXTRA_CA_CERTS.`],
        cause,
      })
    }
  }

  private denied({method, url}: Call, status: number): CageError {
    const who = this.account ? this.account.user : 'without an account'
    return new CageError(
      `the registry ${this.place.host} does not let ${who} ${method} ${url.pathname} (HTTP ${status})`,
      {
        code: 'REGISTRY_DENIED',
        exitCode: ExitCode.precondition,
        hints: [
          'Log in with `docker login`, or name a file with an account that may push in `cluster.registryAuth` of your own config.yaml.',
        ],
      },
    )
  }

  private failed(what: string): CageError {
    return new CageError(`the registry ${this.place.host} ${what}`, {code: 'REGISTRY_FAILED'})
  }
}

/** `errors[].code` of the specification, which has an alphabet of its own. */
function reason(said: string): string {
  const code = /"code"\s*:\s*"([A-Z_]{1,40})"/.exec(said)?.[1]
  return code === undefined ? '' : ` (${code})`
}
