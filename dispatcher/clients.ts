import {request as send} from 'node:http'
import {connect} from 'node:net'
import type {Readable, Writable} from 'node:stream'
import {pipeline} from 'node:stream/promises'
import {CageError, messageOf} from '../core/errors.js'
import type {OperatorGreeting} from './git/operator.js'
import {ByteReader} from './wire/byte-reader.js'

const MAX_REQUEST = 1024 * 1024

/**
 * Passes one line of JSON to the control socket and its answer back.
 * @returns the exit code
 */
export async function control(socketPath: string, input: Readable, output: Writable): Promise<number> {
  // One line and not the end of input: not every exec can close its input.
  const line = await new ByteReader(input as AsyncIterable<Buffer>).line(MAX_REQUEST)
  return new Promise((resolve, reject) => {
    const request = send({socketPath, method: 'POST', path: '/'}, (response) => {
      pipeline(response, output, {end: false}).then(
        () => resolve(response.statusCode === 200 ? 0 : 1),
        () => resolve(1),
      )
    })
    request.on('error', (cause) => {
      reject(
        new CageError(`the gate does not answer: ${messageOf(cause)}`, {code: 'GATE_UNREACHABLE', cause}),
      )
    })
    request.end(line)
  })
}

/** Joins a git client on stdio with the operator's socket. @returns the exit code */
export function serve(
  socketPath: string,
  greeting: OperatorGreeting,
  input: Readable,
  output: Writable,
): Promise<number> {
  return new Promise((resolve, reject) => {
    const socket = connect({path: socketPath, allowHalfOpen: true})
    socket.once('error', (cause) => {
      reject(
        new CageError(`the git service does not answer: ${messageOf(cause)}`, {
          code: 'GIT_UNREACHABLE',
          cause,
        }),
      )
    })
    socket.once('connect', () => {
      socket.write(`${JSON.stringify(greeting)}\n`)
      input.pipe(socket)
      pipeline(socket, output, {end: false}).then(
        () => resolve(0),
        () => resolve(1),
      )
    })
  })
}
