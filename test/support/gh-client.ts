import {execFile} from 'node:child_process'
import {mkdirSync, readFileSync} from 'node:fs'
import {createServer as createPlainServer, type Server as PlainServer} from 'node:http'
import {createServer, request as send, type Server} from 'node:https'
import {connect, type Socket} from 'node:net'
import {handleHeader} from '../../core/layout.js'
import type {TestDispatcher} from './dispatcher.js'
import type {Finished} from './dispatcher-processes.js'

/**
 * The way of programs in a task to the dispatcher, for GitHub's names only: TLS in the name they asked for, the handle
 * instead of what they showed, as the sidecar does it. Unmodified gh and git go through it as through any proxy.
 */
export class GhClient {
  readonly #door: TestDispatcher
  readonly #tls: Server
  readonly #proxy: PlainServer
  readonly #sockets = new Set<Socket>()
  #port = 0

  private constructor(door: TestDispatcher, handle: string) {
    this.#door = door
    const read = (name: string) => readFileSync(`${door.tls}/${name}`)
    this.#tls = createServer({cert: read('tls.crt'), key: read('tls.key')}, (request, response) => {
      const headers = {...request.headers, [handleHeader]: handle}
      delete headers.authorization
      const passed = send(
        {
          host: '127.0.0.1',
          port: door.port,
          servername: 'git.cage.internal',
          ca: read('ca.crt'),
          method: request.method,
          path: request.url,
          headers,
        },
        (answer) => {
          response.writeHead(answer.statusCode ?? 502, answer.headers)
          answer.pipe(response)
        },
      )
      passed.on('error', () => response.destroy())
      request.pipe(passed)
    })
    this.#proxy = createPlainServer()
    this.#proxy.on('connect', (request, client: Socket) => {
      const host = (request.url ?? '').split(':')[0] ?? ''
      if (host !== 'github.com' && host !== 'api.github.com') {
        client.end('HTTP/1.1 403 Forbidden\r\n\r\n')
        return
      }
      const address = this.#tls.address()
      const inside = connect(typeof address === 'object' && address ? address.port : 0, '127.0.0.1')
      for (const socket of [client, inside]) {
        this.#sockets.add(socket)
        socket.on('error', () => socket.destroy())
      }
      client.write('HTTP/1.1 200 Connection established\r\n\r\n')
      client.pipe(inside).pipe(client)
    })
  }

  static async open(door: TestDispatcher, task: {handle: string}): Promise<GhClient> {
    const client = new GhClient(door, task.handle)
    await new Promise<void>((resolve) => client.#tls.listen(0, '127.0.0.1', resolve))
    await new Promise<void>((resolve) => client.#proxy.listen(0, '127.0.0.1', resolve))
    const address = client.#proxy.address()
    client.#port = typeof address === 'object' && address ? address.port : 0
    return client
  }

  /** gh or git as an agent runs it, in one of the dispatcher's sandboxes. */
  run(where: string, program: string, ...args: string[]): Promise<Finished> {
    const {box} = this.#door
    const home = box.path('agent-home')
    mkdirSync(home, {recursive: true})
    const env = {
      ...box.env,
      GH_CONFIG_DIR: home,
      GH_NO_UPDATE_NOTIFIER: '1',
      GH_PROMPT_DISABLED: '1',
      GH_TELEMETRY: 'disabled',
      GH_TOKEN: 'cage-placeholder',
      GIT_SSL_CAINFO: `${this.#door.tls}/ca.crt`,
      GIT_TERMINAL_PROMPT: '0',
      HTTPS_PROXY: `http://127.0.0.1:${this.#port}`,
      NO_COLOR: '1',
      SSL_CERT_FILE: `${this.#door.tls}/ca.crt`,
    }
    return new Promise((resolve) => {
      const child = execFile(program, args, {cwd: box.path(where), env}, (error, stdout, stderr) => {
        resolve({code: error ? (typeof error.code === 'number' ? error.code : -1) : 0, stdout, stderr})
      })
      child.stdin?.end()
    })
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    this.#tls.closeAllConnections()
    await Promise.all(
      [this.#tls, this.#proxy].map((server) => new Promise((resolve) => server.close(resolve))),
    )
  }
}
