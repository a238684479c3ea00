import {readFileSync} from 'node:fs'
import {connect} from 'node:net'
import {connect as connectTls} from 'node:tls'
import {gitHost} from '../../core/layout.js'

const WAIT_MS = 2000

/**
 * The fence leads every connection to the sidecar, so an open connection proves nothing by itself: on 443 it must be
 * the sidecar's TLS, on 80 its refusal, and on any other port nothing may come but the end.
 * Resolves with how it was closed.
 */
export async function tcpIsClosed(target: string, caPath: string): Promise<string> {
  const [, host = '', portText = ''] = /^\[?([0-9A-Fa-f.:]+?)\]?:(\d{1,5})$/.exec(target) ?? []
  const port = Number(portText)
  if (host === '') throw new Error('is not ADDRESS:PORT')
  if (port === 443) return speaksSidecarTls(host, port, caPath)
  return watch(
    host,
    port,
    port === 80 ? 'GET / HTTP/1.1\r\nHost: probe.invalid\r\nConnection: close\r\n\r\n' : undefined,
  )
}

function speaksSidecarTls(host: string, port: number, caPath: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connectTls({
      host,
      port,
      servername: gitHost,
      ca: readFileSync(caPath),
      timeout: WAIT_MS,
      rejectUnauthorized: false,
    })
    socket.on('secureConnect', () => {
      const ours = socket.authorized
      socket.destroy()
      if (ours) resolve('the sidecar took it')
      else reject(new Error('something other than the sidecar speaks TLS there'))
    })
    socket.on('timeout', () => {
      socket.destroy()
      resolve('silence')
    })
    socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
  })
}

function watch(host: string, port: number, greeting: string | undefined): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({host, port, timeout: WAIT_MS})
    let opened = false
    let received = ''
    socket.on('connect', () => {
      opened = true
      if (greeting !== undefined) socket.write(greeting)
    })
    socket.on('data', (chunk: Buffer) => (received += chunk.toString('latin1')))
    socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message))
    socket.on('timeout', () => {
      socket.destroy()
      if (opened) reject(new Error('it accepts connections'))
      else resolve('silence')
    })
    socket.on('close', () => {
      if (received === '') resolve('hung up')
      else if (greeting !== undefined && received.includes('"cage_denied"')) resolve('the sidecar took it')
      else reject(new Error('it answers'))
    })
  })
}
