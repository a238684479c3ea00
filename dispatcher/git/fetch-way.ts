import {randomBytes} from 'node:crypto'
import {createServer, type IncomingMessage, type ServerResponse} from 'node:http'
import type {AddressInfo} from 'node:net'
import {pipeline} from 'node:stream/promises'
import type {SocketClient} from '../socket-client.js'

/**
 * An address on the loopback that leads through `gate` to one upstream repository, for reading, while `work` runs: git's
 * own fetch needs a URL, and this container has no network. Whoever does not know the nonce gets nothing.
 */
export async function withFetchWay<T>(
  gate: SocketClient,
  repository: string,
  work: (url: string) => Promise<T>,
): Promise<T> {
  const nonce = randomBytes(16).toString('hex')
  const server = createServer((request, response) => {
    pass(gate, repository, `/${nonce}`, request, response).catch(() => response.destroy())
  })
  server.requestTimeout = 0
  server.timeout = 0
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(0, '127.0.0.1', resolve))
  try {
    return await work(`http://127.0.0.1:${(server.address() as AddressInfo).port}/${nonce}`)
  } finally {
    server.close()
    server.closeAllConnections()
  }
}

async function pass(
  gate: SocketClient,
  repository: string,
  prefix: string,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const action = request.url?.startsWith(`${prefix}/`) === true ? request.url.slice(prefix.length) : ''
  const isAdvertisement = request.method === 'GET' && action === '/info/refs?service=git-upload-pack'
  if (!isAdvertisement && !(request.method === 'POST' && action === '/git-upload-pack')) {
    request.resume()
    response.writeHead(404).end()
    return
  }
  const headers: Record<string, string> = {}
  for (const name of ['content-encoding', 'content-length', 'git-protocol'] as const) {
    const value = request.headers[name]
    if (typeof value === 'string') headers[name] = value
  }
  const answer = await gate.call({
    method: request.method ?? 'GET',
    path: `/upstream/${encodeURIComponent(repository)}${action}`,
    headers,
    ...(isAdvertisement ? {} : {body: request}),
  })
  response.writeHead(answer.status, {'content-type': answer.headers['content-type'] ?? 'text/plain'})
  await pipeline(answer.body, response)
}
