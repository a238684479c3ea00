import {createHash, randomUUID} from 'node:crypto'
import {createReadStream, createWriteStream, existsSync, mkdirSync, statSync} from 'node:fs'
import {createServer, type IncomingMessage, type Server, type ServerResponse} from 'node:http'
import {createServer as createTlsServer} from 'node:https'
import {rename} from 'node:fs/promises'
import type {AddressInfo} from 'node:net'
import {join} from 'node:path'
import {buffer} from 'node:stream/consumers'
import {pipeline} from 'node:stream/promises'

/**
 * A registry of the OCI distribution API (distribution-spec 1.1): push by monolithic upload, pull, basic auth. Blobs lie in
 * a folder, so that real images fit. As real ones do it refuses a manifest whose blobs are not there.
 */
export class FakeRegistry {
  /** asks for tokens that `/token` hands out for the account, one repository each, as the large registries do */
  tokens = false
  /** `METHOD PATH`, in order */
  readonly requests: string[] = []
  /** `name:tag` → manifest */
  readonly manifests = new Map<string, Buffer>()
  private readonly server: Server
  private readonly folder: string
  private readonly account: {user: string; password: string} | undefined

  /** Plain HTTP without `tls`, which is PEM. */
  constructor(
    folder: string,
    account?: {user: string; password: string},
    tls?: {key: string; certificate: string},
  ) {
    this.folder = folder
    this.account = account
    mkdirSync(folder, {recursive: true})
    const answer = (request: IncomingMessage, response: ServerResponse) => {
      this.answer(request, response).catch(() => response.destroy())
    }
    this.server = tls ? createTlsServer({key: tls.key, cert: tls.certificate}, answer) : createServer(answer)
  }

  /** `host` is the address to listen on. @returns the port */
  async start(host = '127.0.0.1'): Promise<number> {
    await new Promise<void>((resolve) => this.server.listen(0, host, resolve))
    return (this.server.address() as AddressInfo).port
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections()
    await new Promise((resolve) => this.server.close(resolve))
  }

  private async answer(request: IncomingMessage, response: ServerResponse): Promise<unknown> {
    const {method = ''} = request
    const url = new URL(request.url ?? '/', 'http://registry')
    this.requests.push(`${method} ${url.pathname}`)
    if (this.tokens && url.pathname === '/token') return this.giveToken(request, response, url)
    if (!this.lets(request.headers.authorization, url.pathname)) {
      const realm = `http://${request.headers.host ?? ''}/token`
      const bearer = `Bearer realm="${realm}",service="registry.test",scope="registry:catalog:*"`
      response.setHeader('www-authenticate', this.tokens ? bearer : 'Basic realm="registry"')
      return end(response, 401, 'UNAUTHORIZED')
    }
    if (url.pathname === '/v2/') return end(response, 200)
    const [, name = '', kind, rest = ''] =
      /^\/v2\/(.+)\/(manifests|blobs\/uploads|blobs)\/(.*)$/.exec(url.pathname) ?? []
    switch (`${method} ${kind ?? ''}`) {
      case 'POST blobs/uploads':
        response.setHeader('location', `/v2/${name}/blobs/uploads/${randomUUID()}?state=1`)
        return end(response, 202)
      case 'PUT blobs/uploads':
        return this.takeBlob(request, response, url.searchParams.get('digest') ?? '')
      case 'HEAD blobs':
      case 'GET blobs':
        return this.giveBlob(method, response, rest)
      case 'PUT manifests':
        return this.takeManifest(`${name}:${rest}`, await buffer(request), response)
      case 'HEAD manifests':
      case 'GET manifests':
        return this.giveManifest(method, name, rest, response)
      default:
        return end(response, 404, 'UNSUPPORTED')
    }
  }

  private giveToken(request: IncomingMessage, response: ServerResponse, url: URL): ServerResponse {
    if (!this.knows(request.headers.authorization)) return end(response, 401, 'UNAUTHORIZED')
    response.writeHead(200, {'content-type': 'application/json'})
    const scope = url.searchParams.get('scope') ?? ''
    return response.end(
      JSON.stringify({token: `token for ${url.searchParams.get('service') ?? ''} ${scope}`}),
    )
  }

  private lets(authorization: string | undefined, path: string): boolean {
    if (!this.tokens) return this.knows(authorization)
    const [, repository] = /^\/v2\/(.+)\/(?:manifests|blobs)\//.exec(path) ?? []
    const scope = repository === undefined ? 'registry:catalog:*' : `repository:${repository}:pull,push`
    return authorization === `Bearer token for registry.test ${scope}`
  }

  private knows(authorization: string | undefined): boolean {
    if (!this.account) return true
    const {user, password} = this.account
    return authorization === `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`
  }

  private path(digest: string): string {
    return join(this.folder, digest.replace(/[^a-z0-9]/g, '-'))
  }

  private async takeBlob(
    request: IncomingMessage,
    response: ServerResponse,
    digest: string,
  ): Promise<unknown> {
    const sum = createHash('sha256')
    request.on('data', (chunk: Buffer) => sum.update(chunk))
    await pipeline(request, createWriteStream(this.path(`upload-${digest}`)))
    if (`sha256:${sum.digest('hex')}` !== digest) return end(response, 400, 'DIGEST_INVALID')
    await rename(this.path(`upload-${digest}`), this.path(digest))
    return end(response, 201)
  }

  private async giveBlob(method: string, response: ServerResponse, digest: string): Promise<unknown> {
    if (!existsSync(this.path(digest))) return end(response, 404, 'BLOB_UNKNOWN')
    response.writeHead(200, {
      'content-length': statSync(this.path(digest)).size,
      'docker-content-digest': digest,
    })
    if (method === 'HEAD') return response.end()
    return pipeline(createReadStream(this.path(digest)), response)
  }

  private takeManifest(reference: string, manifest: Buffer, response: ServerResponse): ServerResponse {
    const {config, layers} = JSON.parse(manifest.toString()) as {
      config: {digest: string}
      layers: {digest: string}[]
    }
    if (![config, ...layers].every(({digest}) => existsSync(this.path(digest))))
      return end(response, 400, 'MANIFEST_BLOB_UNKNOWN')
    this.manifests.set(reference, manifest)
    return end(response, 201)
  }

  private giveManifest(
    method: string,
    name: string,
    reference: string,
    response: ServerResponse,
  ): ServerResponse {
    const found = reference.startsWith('sha256:')
      ? [...this.manifests.values()].find((manifest) => digestOf(manifest) === reference)
      : this.manifests.get(`${name}:${reference}`)
    if (!found) return end(response, 404, 'MANIFEST_UNKNOWN')
    response.writeHead(200, {
      'content-type': 'application/vnd.oci.image.manifest.v1+json',
      'content-length': found.length,
      'docker-content-digest': digestOf(found),
    })
    return response.end(method === 'HEAD' ? undefined : found)
  }
}

function digestOf(bytes: Buffer): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`
}

function end(response: ServerResponse, status: number, code?: string): ServerResponse {
  response.writeHead(status, {'content-type': 'application/json'})
  return response.end(code === undefined ? '' : JSON.stringify({errors: [{code, message: 'no'}]}))
}
