/**
 * The internet of the tests, in a network namespace of its own: resolver, public hosts, private hosts, metadata, a
 * dispatcher. Reports what reaches it as JSON lines on stdout; whatever is not reported here did not get out.
 */
import {createSocket} from 'node:dgram'
import {readFileSync, statSync} from 'node:fs'
import {createServer as createHttpServer, type IncomingMessage, type ServerResponse} from 'node:http'
import {createServer as createHttpsServer} from 'node:https'
import {connect, createServer as createTcpServer, type Socket} from 'node:net'
import {join} from 'node:path'
import {createSecureContext, type SecureContext} from 'node:tls'
import {gzipSync} from 'node:zlib'
import {issueServer, parseAuthority} from '../../../core/certificates/authority.js'
import {buildResponse, parseQuery} from '../../../proxy/names/message.js'
import {changing, world, zone} from './addresses.js'
import {answerAsModel} from './models.js'
import {serveGrpc, serveHttp2} from './world-http2.js'

// One broken client must not end the world.
process.on('uncaughtException', (error) => report({place: 'world', error: error.stack}))

const directory = process.argv[2] ?? ''
const publicCa = parseAuthority(readFileSync(join(directory, 'public-ca.pem'), 'utf8'))
const projectCa = parseAuthority(readFileSync(join(directory, 'project-ca.pem'), 'utf8'))
const privateCa = parseAuthority(readFileSync(join(directory, 'private-ca.pem'), 'utf8'))

function report(event: Record<string, unknown>): void {
  process.stdout.write(`${JSON.stringify(event)}\n`)
}

const contexts = new Map<string, SecureContext>()
function contextFor(ca: typeof publicCa, name: string): SecureContext {
  const known = contexts.get(`${ca.certificate}${name}`)
  if (known) return known
  const {key, certificate} = issueServer(ca, name, Date.now(), 2)
  const context = createSecureContext({cert: certificate, key})
  contexts.set(`${ca.certificate}${name}`, context)
  return context
}

function handle(place: string) {
  return (request: IncomingMessage, response: ServerResponse) => {
    const {method, url = '', rawHeaders} = request
    response.on('error', () => undefined)
    if (url === '/early') {
      report({place, method, url, rawHeaders})
      response.end('early')
      return
    }
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => {
      if (url !== '/count') chunks.push(chunk)
      bytes += chunk.length
    })
    let bytes = 0
    request.on('error', () => report({place, method, url, cut: true, bytes}))
    request.on('end', () => {
      const body = Buffer.concat(chunks)
      report({place, method, url, rawHeaders, bytes, body: body.subarray(0, 65536).toString('latin1')})
      if (answerFromFile(request, response)) return
      if (!answerAsModel(request, response, body)) respond(url, request, response, body, bytes)
    })
  }
}

/** A file of `web/HOST/PATH`, with `.json` or `/index.html` behind it where the path is a folder, for hosts that are there. */
function answerFromFile(request: IncomingMessage, response: ServerResponse): boolean {
  const path = (request.url ?? '').split('?')[0] ?? ''
  const folder = join(directory, 'web', request.headers.host ?? '')
  if (request.method !== 'GET' || !statSync(folder, {throwIfNoEntry: false})) return false
  const file = ['', '.json', 'index.html']
    .map((end) => join(folder, `${path}${end}`))
    .find((one) => statSync(one, {throwIfNoEntry: false})?.isFile())
  if (file === undefined) {
    response.writeHead(404).end()
    return true
  }
  const type = file.endsWith('.json')
    ? 'application/json'
    : file.endsWith('.html')
      ? 'text/html'
      : 'application/octet-stream'
  response.writeHead(200, {'content-type': type}).end(readFileSync(file))
  return true
}

function respond(
  url: string,
  request: IncomingMessage,
  response: ServerResponse,
  body: Buffer,
  bytes: number,
): void {
  const path = url.split('?')[0] ?? ''
  const echo = JSON.stringify({
    url,
    method: request.method,
    headers: request.rawHeaders,
    body: body.toString('latin1'),
    bytes,
  })
  if (path === '/sse') {
    response.writeHead(200, {'content-type': 'text/event-stream'})
    let n = 0
    const timer = setInterval(() => {
      response.write(`data: ${n++} ${request.headers.authorization ?? ''}\n\n`)
      if (n === 3) {
        clearInterval(timer)
        response.end()
      }
    }, 150)
  } else if (path === '/split') {
    // The credential in two packets, so that the scrubber meets it at an edge.
    const text = `<${request.headers.authorization ?? ''}>`
    response.write(text.slice(0, 12))
    setTimeout(() => response.end(text.slice(12)), 100)
  } else if (path === '/gzip') {
    response.writeHead(200, {'content-encoding': 'gzip'}).end(gzipSync(echo))
  } else if (path === '/redirect') {
    response.writeHead(302, {location: 'http://169.254.169.254/latest/meta-data/'}).end()
  } else if (path === '/alt-svc') {
    response.writeHead(200, {'alt-svc': 'h3=":443"', connection: 'keep-alive, x-hop', 'x-hop': '1'}).end('ok')
  } else if (path === '/cut') {
    response.writeHead(200, {'content-length': '1000'}).write('half')
    setTimeout(() => response.destroy(), 50)
  } else if (path === '/half-head') {
    request.socket.write('HTTP/1.1 200 OK\r\ncontent-le')
    setTimeout(() => request.socket.destroy(), 50)
  } else if (path === '/reset') request.socket.destroy()
  else if (path === '/large') response.end(Buffer.alloc(20_000_000, 'x'))
  else if (path.endsWith('/info/refs')) response.end(`${'1'.repeat(40)}\trefs/heads/main\n`)
  else if (path === '/ready') response.end('ready\n')
  else response.writeHead(200, {'content-type': 'application/json'}).end(echo)
}

function webServer(ca: typeof publicCa, place: string) {
  const server = createHttpsServer(
    {SNICallback: (name, done) => done(null, contextFor(ca, name)), ...withDefault(ca, place)},
    handle(place),
  )
  server.on('upgrade', (request: IncomingMessage, socket: Socket) => {
    report({place, upgrade: request.headers.upgrade, url: request.url})
    socket.write(
      'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n',
    )
    socket.on('data', (chunk: Buffer) => {
      report({place, frame: chunk.toString('latin1')})
      socket.write(Buffer.concat([Buffer.from([0x81, 2]), Buffer.from('hi')]))
    })
    socket.on('error', () => undefined)
  })
  server.on('tlsClientError', (error: Error) => report({place, tls: error.message}))
  return server
}

/** The proxy of a company: resolves names by itself, and leads some of them elsewhere. */
function companyProxy() {
  const server = createHttpServer(handle('company-proxy'))
  server.on('connect', (request: IncomingMessage, socket: Socket) => {
    report({place: 'company-proxy', connect: request.url})
    const inside = request.url === 'inside.test:443'
    socket.on('error', () => undefined)
    if (request.url?.startsWith('refused.test:')) {
      socket.end('HTTP/1.1 403 Forbidden\r\n\r\n')
      return
    }
    const port = Number(request.url?.split(':')[1])
    const far = connect({host: inside ? world.privateHost : world.publicHost, port}, () => {
      socket.write('HTTP/1.1 200 Connection established\r\n\r\n')
      socket.pipe(far).pipe(socket)
    })
    far.on('error', () => socket.destroy())
  })
  return server
}

/** Further addresses behind those of a response: same name, type A, one second. */
function withMore(response: Buffer, addresses: readonly string[]): Buffer {
  response.writeUInt16BE(response.readUInt16BE(6) + addresses.length, 6)
  const records = addresses.map((address) =>
    Buffer.from([0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, ...address.split('.').map(Number)]),
  )
  return Buffer.concat([response, ...records])
}

function withDefault(ca: typeof publicCa, name: string) {
  const {key, certificate} = issueServer(ca, name, Date.now(), 2)
  return {key, cert: certificate}
}

webServer(publicCa, 'public').listen(443, world.publicHost)
createHttpServer(handle('public-http')).listen(80, world.publicHost)
serveHttp2(world.http2Host, issueServer(publicCa, 'h2.test', Date.now(), 2), report)
serveGrpc(world.grpcHost, issueServer(publicCa, 'grpc.test', Date.now(), 2), report)
webServer(publicCa, 'canary').listen(443, world.canary)
createHttpServer(handle('canary-http')).listen(80, world.canary)
webServer(projectCa, 'dispatcher').listen(443, world.dispatcher)
webServer(privateCa, 'private').listen(8443, world.privateHost)
webServer(publicCa, 'private-public-ca').listen(443, world.privateHost)
webServer(publicCa, 'special').listen(443, world.special)
webServer(publicCa, 'special-neighbour').listen(443, world.specialNeighbour)
companyProxy().listen(3128, world.companyProxy)
createHttpServer(handle('metadata')).listen(80, world.metadata)
// Hosts that break off before there is TLS; the name says how.
createTcpServer((socket) => {
  socket.on('error', () => undefined)
  socket.once('data', (hello: Buffer) => {
    if (hello.includes('reset.faulty.test')) socket.resetAndDestroy()
    else if (hello.includes('garbage.faulty.test')) socket.end('HTTP/1.1 200 OK\r\n\r\n')
    else socket.end()
  })
}).listen(443, world.faulty)
for (const [host, place] of [
  [world.canary, 'canary'],
  [world.gateway, 'gateway'],
] as const) {
  for (const port of [22, 853, 9999]) {
    createTcpServer((socket) => {
      report({place, tcp: port})
      socket.on('error', () => undefined)
      socket.end('SSH-2.0-canary\r\n')
    }).listen(port, host)
  }
}

for (const host of [world.resolver, world.foreignResolver]) {
  const socket = createSocket('udp4')
  socket.on('message', (packet, from) => {
    const question = parseQuery(packet)
    if (!question || 'refuse' in question) return
    report({place: host === world.resolver ? 'resolver' : 'foreign-resolver', name: question.name})
    const address = zone[question.name]
    const answer = address === undefined ? {code: 3, ttl: 1} : {code: 0, ttl: 1, address}
    const answers = changing[question.name]
    const next = answers && answers.length > 1 ? answers.shift() : answers?.[0]
    const response = next
      ? withMore(buildResponse(packet, question, {code: 0, ttl: 1, address: next[0] ?? ''}), next.slice(1))
      : buildResponse(packet, question, answer)
    socket.send(response, from.port, from.address)
  })
  socket.bind(53, host)
}
for (const port of [443, 9999]) {
  const socket = createSocket('udp4')
  socket.on('message', (packet, from) => {
    report({place: 'canary', udp: port})
    socket.send(packet, from.port, from.address)
  })
  socket.bind(port, world.canary)
}
setTimeout(() => process.stdout.write('"ready"\n'), 200)
