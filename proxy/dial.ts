import {createHash} from 'node:crypto'
import {connect as connectTcp, isIP, type Socket} from 'node:net'
import {connect as connectTls, createSecureContext, type SecureContext, type TLSSocket} from 'node:tls'
import type {EgressRoute} from '../policy/grant.js'
import {messageOf} from '../core/errors.js'
import {gitHost} from '../core/layout.js'
import {askProxy} from '../core/proxy-connect.js'
import {Denial} from './denial.js'
import type {Enforcement} from './enforcement.js'
import type {Endpoint} from './target.js'

const CONNECT_MS = 10_000
const MAX_ADDRESSES = 3

/** Where a connection really goes. */
interface Route {
  /** vetted; dialled as they are, in this order */
  addresses: string[]
  port: number
  /** absent = plain text */
  tls?: {name: string; context: SecureContext; pin?: string; pinAlone?: boolean}
  /** asked to CONNECT to this after dialling */
  through?: string
}

export type Protocol = 'h2' | 'http/1.1'

export interface Dialled {
  socket: Socket
  address: string
}

/** Opens connections for what policy allowed: resolved once, judged, and dialled at exactly the judged address. */
export class Dialer {
  readonly #publicRoots: SecureContext
  readonly #contexts = new Map<string, SecureContext>()

  /** @param systemRoots PEM */
  constructor(systemRoots: string) {
    this.#publicRoots = createSecureContext({ca: systemRoots, minVersion: 'TLSv1.2'})
  }

  /** @param protocols to offer in the TLS handshake, best first. Throws Denial. */
  async dial(
    endpoint: Endpoint,
    enforcement: Enforcement,
    protocols: readonly Protocol[] = ['http/1.1'],
  ): Promise<Dialled> {
    return open(await this.#route(endpoint, enforcement), protocols)
  }

  /** The dispatcher, verified against the project's CA and nothing else. Throws Denial `dispatcher_unavailable`. */
  async dialDispatcher(enforcement: Enforcement): Promise<Dialled> {
    const {address, port, ca} = enforcement.grant.dispatcher
    try {
      return await open({addresses: [address], port, tls: {name: gitHost, context: this.#contextFor(ca)}}, [
        'http/1.1',
      ])
    } catch (error) {
      const detail = error instanceof Denial ? error.detail : messageOf(error)
      throw new Denial('dispatcher_unavailable', {
        status: 502,
        failed: true,
        ...(detail === undefined ? {} : {detail}),
      })
    }
  }

  async #route(endpoint: Endpoint, enforcement: Enforcement): Promise<Route> {
    const {host, port, scheme} = endpoint
    const tls = (name: string, ca?: string) => ({tls: {name, context: this.#contextFor(ca)}})
    const route = enforcement.route(host)
    if (route) {
      const url = new URL(route.url)
      const isTls = url.protocol === 'https:'
      const name = url.hostname.replace(/^\[|\]$/g, '')
      return {
        addresses: [route.address],
        port: Number(url.port) || (isTls ? 443 : 80),
        ...(isTls ? {tls: {...tls(name, route.ca).tls, ...pinOf(route)}} : {}),
      }
    }
    const fixed = enforcement.hostRoute(host)
    const secure = scheme === 'https' ? tls(host, fixed?.ca) : {}
    if (fixed) return {addresses: [fixed.address], port: fixed.port, ...secure}
    const {upstreamProxy} = enforcement.grant
    if (upstreamProxy !== undefined) {
      const proxy = new URL(upstreamProxy)
      const addresses = isIP(proxy.hostname) ? [proxy.hostname] : await resolve(proxy.hostname, enforcement)
      return {addresses, port: Number(proxy.port) || 80, through: `${host}:${port}`, ...secure}
    }
    return {addresses: await vettedAddresses(host, enforcement), port, ...secure}
  }

  #contextFor(ca: string | undefined): SecureContext {
    if (ca === undefined) return this.#publicRoots
    const context = this.#contexts.get(ca) ?? createSecureContext({ca, minVersion: 'TLSv1.2'})
    this.#contexts.set(ca, context)
    return context
  }
}

async function resolve(host: string, enforcement: Enforcement): Promise<string[]> {
  try {
    return await enforcement.resolver.resolve(host)
  } catch (error) {
    throw new Denial('upstream_unreachable', {
      status: 502,
      failed: true,
      hint: 'The name does not resolve.',
      detail: messageOf(error),
    })
  }
}

/** The addresses of a name. One that leads inside spoils them all: answers are mixed by who wants a client to try the next. */
async function vettedAddresses(host: string, enforcement: Enforcement): Promise<string[]> {
  const all = await resolve(host, enforcement)
  const refused = all.filter((address) => !enforcement.judgeAddress(address).allowed)
  if (refused.length === 0) return all.slice(0, MAX_ADDRESSES)
  const detail = refused.map((address) => `${address} ${enforcement.judgeAddress(address).kind}`).join(', ')
  throw new Denial('address_not_public', {detail})
}

async function open(route: Route, protocols: readonly Protocol[]): Promise<Dialled> {
  let problem: unknown
  for (const address of route.addresses) {
    try {
      const plain = await connected(connectTcp({host: address, port: route.port, noDelay: true}), 'connect')
      if (route.through !== undefined) await askProxy(plain, route.through, CONNECT_MS)
      return {socket: route.tls ? await secured(plain, route.tls, protocols) : plain, address}
    } catch (error) {
      problem = error
    }
  }
  throw unreachable(problem)
}

function connected<T extends Socket>(socket: T, event: 'connect' | 'secureConnect'): Promise<T> {
  return new Promise((fulfil, reject) => {
    const fail = (error: Error) => {
      clearTimeout(timer)
      socket.destroy()
      reject(error)
    }
    const closed = () => fail(new Error('the connection was closed'))
    const timer = setTimeout(() => fail(new Error(`no answer in ${CONNECT_MS / 1000} s`)), CONNECT_MS)
    socket.once('error', fail)
    socket.once('close', closed)
    socket.once(event, () => {
      clearTimeout(timer)
      socket.off('error', fail)
      socket.off('close', closed)
      fulfil(socket)
    })
  })
}

async function secured(
  socket: Socket,
  tls: NonNullable<Route['tls']>,
  protocols: readonly Protocol[],
): Promise<TLSSocket> {
  const secure = connectTls({
    socket,
    secureContext: tls.context,
    // An address is no server name, but it is what the certificate must hold.
    ...(isIP(tls.name) ? {host: tls.name} : {servername: tls.name}),
    ALPNProtocols: [...protocols],
    rejectUnauthorized: tls.pinAlone !== true,
  })
  await connected(secure, 'secureConnect')
  if (tls.pin !== undefined && keyOf(secure) !== tls.pin) {
    secure.destroy()
    throw Object.assign(new Error('the public key is not the pinned one'), {code: 'CERT_PIN'})
  }
  return secure
}

function pinOf({pin, ca}: EgressRoute): {pin?: string; pinAlone?: boolean} {
  return pin === undefined ? {} : {pin, pinAlone: ca === undefined}
}

/** `sha256/` + base64 of the SHA-256 of the public key (SPKI) that the other side proved to hold. */
function keyOf(socket: TLSSocket): string | undefined {
  const key = socket.getPeerX509Certificate()?.publicKey.export({type: 'spki', format: 'der'})
  return key && `sha256/${createHash('sha256').update(key).digest('base64')}`
}

function unreachable(problem: unknown): Denial {
  if (problem instanceof Denial) return problem
  const {code} = problem as NodeJS.ErrnoException
  const detail = `${code ?? ''} ${messageOf(problem)}`.trim()
  const isCertificate = code !== undefined && /CERT|SIGNATURE|ISSUER|SELF_SIGNED|ALTNAME/.test(code)
  if (isCertificate)
    return new Denial('upstream_certificate', {
      status: 502,
      failed: true,
      hint: 'The certificate of the host does not hold.',
      detail,
    })
  return new Denial('upstream_unreachable', {status: 502, failed: true, detail})
}
