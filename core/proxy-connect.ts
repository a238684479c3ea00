import type {Socket} from 'node:net'
import {visible} from './quote.js'

const MAX_ANSWER = 16 * 1024
const MAX_SHOWN = 200

/**
 * CONNECT (RFC 9110, 9.3.6) over a connection to an HTTP proxy. What the proxy sends after its header block would be no
 * TLS of the host's. Errors: an Error that says what the proxy did; the socket is destroyed then.
 * @param authority `host:port`
 */
export function askProxy(socket: Socket, authority: string, deadlineMs: number): Promise<void> {
  return new Promise((fulfil, reject) => {
    let answer = ''
    const finish = (error?: Error) => {
      clearTimeout(timer)
      socket.off('data', onData).off('error', finish).off('close', onClose)
      socket.pause()
      if (!error) {
        fulfil()
        return
      }
      socket.destroy()
      reject(error)
    }
    const onClose = () => finish(new Error('the upstream proxy closed the connection'))
    const onData = (chunk: Buffer) => {
      answer += chunk.toString('latin1')
      const complete = answer.includes('\r\n\r\n')
      if (!complete && answer.length <= MAX_ANSWER) return
      const isOpen = /^HTTP\/1\.[01] 2\d\d/.test(answer) && answer.endsWith('\r\n\r\n')
      finish(
        isOpen
          ? undefined
          : new Error(
              `the upstream proxy said ${visible(answer.split('\r\n', 1)[0] ?? '').slice(0, MAX_SHOWN)}`,
            ),
      )
    }
    const timer = setTimeout(() => finish(new Error('the upstream proxy does not answer')), deadlineMs)
    socket.on('data', onData).on('error', finish).on('close', onClose)
    socket.write(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`)
  })
}
