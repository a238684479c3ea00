import type {IncomingMessage, ServerResponse} from 'node:http'
import {uncached, type GitService} from '../socket-api.js'
import {flush, packet} from '../wire/pkt-line.js'
import {plain} from '../wire/text.js'

const MAX_FORGOTTEN = 1024 * 1024
const FORGETTING_MS = 10_000

/** A refusal that git shows as `fatal: remote error: cage: …`; never 401, which would make it ask for a password. */
export function refuseGit(response: ServerResponse, service: GitService, message: string): void {
  response
    .writeHead(200, {...uncached, 'content-type': `application/x-${service}-advertisement`})
    .end(Buffer.concat([packet(`# service=${service}\n`), flush, packet(`ERR cage: ${plain(message)}\n`)]))
}

export function refuseJson(
  response: ServerResponse,
  status: number,
  message: string,
  type = 'application/json',
): void {
  response
    .writeHead(status, {...uncached, 'content-type': type})
    .end(`${JSON.stringify({message: `cage: ${plain(message)}`})}\n`)
}

/** curl prints it as `remote: …`. */
export function refuseText(response: ServerResponse, status: number, message: string): void {
  response.writeHead(status, {...uncached, 'content-type': 'text/plain'}).end(`cage: ${plain(message)}\n`)
}

/** Lets a client that is still sending come to its end, so that it reads the answer; what is large or slow is cut off. */
export async function forgetBody(request: IncomingMessage): Promise<void> {
  let bytes = 0
  const late = setTimeout(() => request.destroy(), FORGETTING_MS)
  try {
    for await (const chunk of request.iterator({destroyOnReturn: false}) as AsyncIterable<Buffer>) {
      bytes += chunk.length
      if (bytes <= MAX_FORGOTTEN) continue
      request.destroy()
      return
    }
  } catch {
    // Nobody is there any more to read an answer.
    request.destroy()
  } finally {
    clearTimeout(late)
  }
}
