/** The hosts of the test's internet that speak HTTP/2: one that misbehaves on demand, one that serves gRPC. */
import {
  createSecureServer,
  constants,
  type Http2Session,
  type IncomingHttpHeaders,
  type ServerHttp2Stream,
} from 'node:http2'
import type {TLSSocket} from 'node:tls'
import {
  Server,
  ServerCredentials,
  status,
  type sendUnaryData,
  type ServerDuplexStream,
  type ServerUnaryCall,
} from '@grpc/grpc-js'
import {grpcService} from './grpc-service.js'

export interface Certificate {
  key: string
  certificate: string
}

/** Http2Session hides its own. */
const socketOf = new WeakMap<Http2Session, TLSSocket>()

type Report = (event: Record<string, unknown>) => void

export function serveHttp2(host: string, {key, certificate}: Certificate, report: Report): void {
  const server = createSecureServer({key, cert: certificate, allowHTTP1: false})
  let attempts = 0
  let newest: TLSSocket | undefined
  server.prependListener('secureConnection', (socket: TLSSocket) => void (newest = socket))
  server.on('session', (session) => {
    if (newest) socketOf.set(session, newest)
    report({place: 'http2', connection: true})
    session.on('error', () => undefined)
    session.socket.on('close', () => report({place: 'http2', closed: true}))
  })
  server.on(
    'stream',
    (stream: ServerHttp2Stream, headers: IncomingHttpHeaders, _flags: number, raw: string[]) => {
      const path = String(headers[':path'])
      stream.on('error', () => undefined)
      stream.on('close', () => report({place: 'http2', stream: path, code: stream.rstCode}))
      const {session} = stream
      if (path === '/reset-first') {
        stream.destroy(new Error('reset'))
        return
      }
      if (path === '/refuse-once' && attempts++ === 0) {
        stream.close(constants.NGHTTP2_REFUSED_STREAM)
        return
      }
      if (path === '/goaway-first' && attempts++ === 0) {
        // It never looked at this stream and says so.
        session?.goaway(constants.NGHTTP2_NO_ERROR, 0)
        setTimeout(() => socketOf.get(session!)?.destroy(), 50)
        return
      }
      if (path === '/gone') {
        socketOf.get(session!)?.destroy()
        return
      }
      if (path === '/early') {
        stream.respond({':status': 200})
        stream.end('early')
        return
      }
      if (path === '/hang') {
        report({place: 'http2', path})
        return
      }
      const chunks: Buffer[] = []
      let bytes = 0
      stream.on('data', (chunk: Buffer) => {
        bytes += chunk.length
        if (bytes < 65536) chunks.push(chunk)
      })
      stream.on('end', () => {
        if (stream.closed) return
        const body = Buffer.concat(chunks).toString('latin1')
        report({place: 'http2', path, raw, bytes, body})
        answer(stream, path, JSON.stringify({raw, bytes, body}))
      })
    },
  )
  server.listen(443, host)
}

function answer(stream: ServerHttp2Stream, path: string, echo: string): void {
  if (path === '/trailers') {
    stream.respond({':status': 200, 'alt-svc': 'h3=":443"'}, {waitForTrailers: true})
    stream.on('wantTrailers', () =>
      stream.sendTrailers({'x-after': String(stream.sentHeaders['x-key'] ?? 'yes')}),
    )
    stream.end('body')
  } else if (path === '/reset-middle' || path === '/gone-middle') {
    stream.respond({':status': 200, 'content-length': 1000})
    stream.write('half')
    setTimeout(() => {
      if (path === '/gone-middle') socketOf.get(stream.session!)?.destroy()
      else stream.destroy(new Error('reset'))
    }, 50)
  } else if (path === '/ticks') {
    stream.respond({':status': 200, 'content-type': 'text/event-stream'})
    const timer = setInterval(() => stream.write('data: tick\n\n'), 100)
    stream.on('close', () => clearInterval(timer))
  } else if (path === '/large') {
    stream.respond({':status': 200})
    stream.end(Buffer.alloc(20_000_000, 'x'))
  } else {
    stream.respond({':status': 200, 'content-type': 'application/json'})
    stream.end(echo)
  }
}

export function serveGrpc(host: string, {key, certificate}: Certificate, report: Report): void {
  const server = new Server()
  server.addService(grpcService, {
    unary: (call: ServerUnaryCall<Buffer, Buffer>, done: sendUnaryData<Buffer>) => {
      report({place: 'grpc', unary: call.request.toString('latin1')})
      if (call.request.toString() === 'fail') done({code: status.NOT_FOUND, details: 'no such thing'})
      else done(null, Buffer.from(`echo ${call.request.toString()}`))
    },
    both: (call: ServerDuplexStream<Buffer, Buffer>) => {
      call.on('data', (message: Buffer) => {
        report({place: 'grpc', message: message.toString('latin1')})
        call.write(Buffer.from(`echo ${message.toString()}`))
      })
      call.on('end', () => call.end())
      call.on('error', () => undefined)
      call.on('cancelled', () => report({place: 'grpc', cancelled: true}))
    },
  })
  const credentials = ServerCredentials.createSsl(null, [
    {private_key: Buffer.from(key), cert_chain: Buffer.from(certificate)},
  ])
  server.bindAsync(`${host}:443`, credentials, () => undefined)
}
