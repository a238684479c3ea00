import {Agent, type AgentOptions, type RequestOptions} from 'node:https'
import {connect as connectTcp, type Socket} from 'node:net'
import type {Duplex} from 'node:stream'
import {connect as connectTls, type ConnectionOptions, type TLSSocket} from 'node:tls'
import {askProxy} from '../../core/proxy-connect.js'

const CONNECT_MS = 20_000

/** An HTTP proxy that takes CONNECT. */
export interface UpstreamProxy {
  /** IPv4 */
  address: string
  port: number
}

/** TLS to one host through the operator's proxy, which finds its address; the certificate is judged by the host's name. */
export class TunnelAgent extends Agent {
  readonly #proxy: UpstreamProxy
  readonly #authority: string

  /** @param authority `host:port`, whatever a request says */
  constructor(proxy: UpstreamProxy, authority: string, options: AgentOptions) {
    super(options)
    this.#proxy = proxy
    this.#authority = authority
  }

  override createConnection(
    options: RequestOptions,
    done: (error: Error | null, stream: Duplex) => void,
  ): undefined {
    this.#open(options as ConnectionOptions).then(
      (socket) => done(null, socket),
      (error: unknown) => (done as (error: Error) => void)(error as Error),
    )
  }

  async #open(options: ConnectionOptions): Promise<TLSSocket> {
    const {address, port} = this.#proxy
    const plain = connectTcp({host: address, port, noDelay: true})
    await opened(plain, 'connect')
    await askProxy(plain, this.#authority, CONNECT_MS)
    const {servername, ca, minVersion} = options
    const secure = connectTls({
      socket: plain,
      ...(servername === undefined ? {} : {servername}),
      ...(ca === undefined ? {} : {ca}),
      ...(minVersion === undefined ? {} : {minVersion}),
    })
    await opened(secure, 'secureConnect')
    return secure
  }
}

function opened(socket: Socket, event: 'connect' | 'secureConnect'): Promise<void> {
  return new Promise((fulfil, reject) => {
    const finish = (error?: Error) => {
      clearTimeout(timer)
      socket.off('error', finish).off('close', closed).off(event, isOpen)
      if (!error) {
        fulfil()
        return
      }
      socket.destroy()
      reject(error)
    }
    const closed = () => finish(new Error('the connection was closed'))
    const isOpen = () => finish()
    const timer = setTimeout(() => finish(new Error('the upstream proxy leads nowhere')), CONNECT_MS)
    socket.once('error', finish).once('close', closed).once(event, isOpen)
  })
}
