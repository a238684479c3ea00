/** A client that says exactly what a test tells it to, as the agent inside the pod. One JSON request, one JSON answer. */
import {readFileSync} from 'node:fs'
import {connect, type Socket} from 'node:net'
import {connect as connectTls} from 'node:tls'
import type {RawAnswer, RawRequest} from './raw.js'

const {host, port, through, tls, send, idleMs = 1500} = JSON.parse(readFileSync(0, 'utf8')) as RawRequest
const answer: RawAnswer = {text: '', closed: false}

function finish(): never {
  process.stdout.write(JSON.stringify(answer))
  process.exit(0)
}

function fail(error: NodeJS.ErrnoException): never {
  answer.error = error.code ?? error.message
  finish()
}

function opened(socket: Socket, event: string): Promise<Socket> {
  return new Promise((resolve) =>
    socket.once('error', fail).once(event, () => resolve(socket.off('error', fail))),
  )
}

let socket = await opened(connect(port, host), 'connect')
if (through !== undefined) {
  socket.write(through)
  const reply = await new Promise<string>((resolve) =>
    socket
      .once('data', (chunk: Buffer) => resolve(chunk.toString('latin1')))
      .once('close', () => resolve('')),
  )
  answer.tunnel = reply
  if (!reply.startsWith('HTTP/1.1 200')) finish()
}
if (tls) {
  const ca = readFileSync(process.env['CAGE_CA'] ?? '')
  const secure = connectTls({
    socket,
    ca,
    ...(tls.servername === '' ? {} : {servername: tls.servername}),
    rejectUnauthorized: tls.servername !== '',
    ALPNProtocols: tls.alpn ?? ['http/1.1'],
  })
  socket = await opened(secure, 'secureConnect')
  answer.alpn = String(secure.alpnProtocol)
}
let timer = setTimeout(finish, idleMs)
socket.on('error', fail)
socket.on('data', (chunk: Buffer) => {
  answer.text += chunk.toString('latin1')
  clearTimeout(timer)
  timer = setTimeout(finish, answer.text.length > 0 ? Math.min(idleMs, 400) : idleMs)
})
socket.on('close', () => {
  answer.closed = true
  finish()
})
for (const part of send) {
  socket.write(Buffer.from(part, 'latin1'))
  await new Promise((resolve) => setTimeout(resolve, 30))
}
