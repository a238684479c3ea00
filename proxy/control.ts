import {chmodSync, rmSync} from 'node:fs'
import {connect, createServer, type Server, type Socket} from 'node:net'
import {CageError, messageOf} from '../core/errors.js'

const MAX_REQUEST = 4 * 1024 * 1024
const ANSWER_MS = 15_000

/** One question to the running sidecar; the answer is JSON too. Throws to refuse. */
export type Operations = Record<string, (request: Record<string, unknown>) => unknown>

export interface ControlAnswer {
  ok: boolean
  result?: unknown
  error?: {code: string; message: string}
}

/** Serves one JSON request per connection on a Unix socket that only this uid can open. */
export function startControl(path: string, operations: Operations): Promise<Server> {
  rmSync(path, {force: true})
  return new Promise((resolve, reject) => {
    const server = createServer({allowHalfOpen: true}, (socket) => {
      socket.on('error', () => undefined)
      void receive(socket).then(
        (text) => socket.end(JSON.stringify(answer(text, operations))),
        () => socket.destroy(),
      )
    })
    server.once('error', reject)
    server.listen(path, () => {
      chmodSync(path, 0o600)
      resolve(server)
    })
  })
}

function answer(text: string, operations: Operations): ControlAnswer {
  try {
    const request: unknown = JSON.parse(text)
    if (typeof request !== 'object' || request === null)
      throw new CageError('not an object', {code: 'CONTROL_REQUEST'})
    const {op} = request as {op?: unknown}
    const operation = typeof op === 'string' && Object.hasOwn(operations, op) ? operations[op] : undefined
    if (!operation) throw new CageError(`no such operation: ${String(op)}`, {code: 'CONTROL_REQUEST'})
    return {ok: true, result: operation(request as Record<string, unknown>)}
  } catch (error) {
    const code = error instanceof CageError ? error.code : 'CONTROL_FAILED'
    return {ok: false, error: {code, message: messageOf(error)}}
  }
}

/** Asks the running sidecar. Throws CageError CONTROL_UNREACHABLE when there is none. */
export async function askControl(path: string, request: string): Promise<ControlAnswer> {
  const socket = connect(path)
  try {
    await new Promise<void>((resolve, reject) => socket.once('connect', resolve).once('error', reject))
    socket.setTimeout(ANSWER_MS, () => socket.destroy(new Error('no answer')))
    socket.end(request)
    return JSON.parse(await receive(socket)) as ControlAnswer
  } catch (cause) {
    throw new CageError(`the sidecar does not answer: ${messageOf(cause)}`, {
      code: 'CONTROL_UNREACHABLE',
      cause,
    })
  } finally {
    socket.destroy()
  }
}

/** All that comes until the other side is done; the socket stays open for the answer. */
function receive(socket: Socket): Promise<string> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let length = 0
    socket.on('data', (chunk: Buffer) => {
      length += chunk.length
      if (length > MAX_REQUEST)
        socket.destroy(new CageError('the request is too long', {code: 'CONTROL_REQUEST'}))
      else chunks.push(chunk)
    })
    socket.on('end', () => resolve(Buffer.concat(chunks).toString('utf8')))
    socket.on('error', reject)
    socket.on('close', () => reject(new Error('the connection was closed')))
  })
}
