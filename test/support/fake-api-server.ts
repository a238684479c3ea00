import {mkdtempSync, rmSync, writeFileSync} from 'node:fs'
import {createServer, type IncomingMessage, type Server, type ServerResponse} from 'node:http'
import type {AddressInfo} from 'node:net'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {text} from 'node:stream/consumers'

export interface SeenRequest {
  method: string
  /** with query */
  url: string
  headers: IncomingMessage['headers']
  body: string
}

type Answer = (request: SeenRequest, response: ServerResponse) => void | Promise<void>

/** An API server over plain HTTP that answers from a script and remembers what it was asked. */
export class FakeApiServer {
  readonly requests: SeenRequest[] = []
  /** answers one request each, in order; afterwards `otherwise` */
  readonly script: Answer[] = []
  otherwise: Answer = (_, response) => void response.writeHead(404).end()
  private readonly server: Server
  private readonly folder = mkdtempSync(join(tmpdir(), 'cage-kubeconfig-'))

  private constructor(server: Server) {
    this.server = server
  }

  static async start(): Promise<FakeApiServer> {
    const server = createServer()
    const fake = new FakeApiServer(server)
    server.on('request', (request: IncomingMessage, response: ServerResponse) => {
      void text(request).then(async (body) => {
        const seen = {method: request.method ?? '', url: request.url ?? '', headers: request.headers, body}
        fake.requests.push(seen)
        await (fake.script.shift() ?? fake.otherwise)(seen, response)
      })
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    return fake
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port
  }

  /** A kubeconfig file for it, with a token that must never show. */
  kubeconfig(): string {
    const file = join(this.folder, 'config')
    writeFileSync(
      file,
      JSON.stringify({
        clusters: [
          {name: 'c', cluster: {server: `http://127.0.0.1:${this.port}`, 'insecure-skip-tls-verify': true}},
        ],
        users: [{name: 'u', user: {token: 'token-that-must-not-show'}}],
        contexts: [{name: 'x', context: {cluster: 'c', user: 'u'}}],
        'current-context': 'x',
      }),
    )
    return file
  }

  async stop(): Promise<void> {
    rmSync(this.folder, {recursive: true})
    this.server.closeAllConnections()
    await new Promise((resolve) => this.server.close(resolve))
  }
}

export function json(value: unknown, status = 200): Answer {
  return (_, response) => {
    response.writeHead(status, {'content-type': 'application/json'}).end(JSON.stringify(value))
  }
}

export function status(code: number, message: string, reason = ''): Answer {
  return json({kind: 'Status', apiVersion: 'v1', status: 'Failure', message, reason, code}, code)
}

/** The connection breaks before an answer. */
export const drop: Answer = (_, response) => void response.socket?.destroy()

/** Lines of a watch, then its end. */
export function watch(...events: {type: string; object: object}[]): Answer {
  return (_, response) => {
    response.writeHead(200, {'content-type': 'application/json'})
    for (const event of events) response.write(`${JSON.stringify(event)}\n`)
    response.end()
  }
}
