import {
  createServer as createHttpServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type ServerResponse,
} from 'node:http'
import {createServer as createHttpsServer} from 'node:https'
import type {AddressInfo} from 'node:net'

export interface FakeAnthropicOptions {
  /** default 127.0.0.1 */
  host?: string
  /** default: any free port */
  port?: number
  /** PEM; with it the server speaks HTTPS */
  tls?: {cert: string; key: string}
  /** one Bash call per turn, in this order */
  commands: readonly string[]
  /** what the model says once every command has run */
  answer?: string
  /** requests without `authorization: Bearer <token>` get 401, as from the real service */
  token?: string
}

export interface SeenRequest {
  method: string
  path: string
  headers: IncomingHttpHeaders
  /** parsed JSON; undefined when there was none */
  body: unknown
}

export interface FakeAnthropic {
  url: string
  port: number
  /** every request in order of arrival */
  seen: SeenRequest[]
  /** text of every tool result that came back, in order of arrival */
  toolResults(): string[]
  close(): Promise<void>
}

interface Block {
  type: string
  tool_use_id?: string
  content?: unknown
}
interface MessagesRequest {
  model?: string
  stream?: boolean
  tools?: {name?: string}[]
  messages?: {role: string; content: string | Block[]}[]
}
type Content =
  | {type: 'text'; text: string}
  | {type: 'tool_use'; id: string; name: string; input: {command: string; description: string}}

/** A Messages API that answers with scripted Bash calls, then with text. Shapes as the public API documents them. */
export async function startFakeAnthropic(options: FakeAnthropicOptions): Promise<FakeAnthropic> {
  const seen: SeenRequest[] = []
  const listener = (request: IncomingMessage, response: ServerResponse) => {
    void readBody(request).then((text) => {
      const record = {
        method: request.method ?? '',
        path: request.url ?? '',
        headers: request.headers,
        body: parse(text),
      }
      seen.push(record)
      answer(record, response, options, seen.length)
    })
  }
  const server = options.tls ? createHttpsServer(options.tls, listener) : createHttpServer(listener)
  const host = options.host ?? '127.0.0.1'
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(options.port ?? 0, host, resolve)
  })
  const {port} = server.address() as AddressInfo
  return {
    url: `${options.tls ? 'https' : 'http'}://${host}:${port}`,
    port,
    seen,
    toolResults: () => resultsIn(seen),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks).toString()
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch {
    return undefined
  }
}

function answer(
  request: SeenRequest,
  response: ServerResponse,
  options: FakeAnthropicOptions,
  serial: number,
): void {
  const path = request.path.split('?')[0]
  if (options.token !== undefined && request.headers.authorization !== `Bearer ${options.token}`) {
    sendJson(response, 401, {
      type: 'error',
      error: {type: 'authentication_error', message: 'invalid bearer token'},
    })
  } else if (request.method === 'POST' && path === '/v1/messages') {
    const asked = (request.body ?? {}) as MessagesRequest
    const content = nextContent(asked, options, serial)
    if (asked.stream) sendEvents(response, asked.model ?? 'fake', content, serial)
    else sendJson(response, 200, message(asked.model ?? 'fake', content, serial))
  } else if (path === '/v1/messages/count_tokens') {
    sendJson(response, 200, {input_tokens: 1})
  } else {
    sendJson(response, 404, {
      type: 'error',
      error: {type: 'not_found_error', message: `no ${path ?? ''} here`},
    })
  }
}

/** A request without the Bash tool is one of the client's own side questions (titles, topics): it gets text. */
function nextContent(asked: MessagesRequest, options: FakeAnthropicOptions, serial: number): Content {
  const command = options.commands[toolResultBlocks(asked).length]
  const offersBash = asked.tools?.some((tool) => tool.name === 'Bash') ?? false
  if (command === undefined || !offersBash) return {type: 'text', text: options.answer ?? 'Done.'}
  return {
    type: 'tool_use',
    id: `toolu_fake${serial}`,
    name: 'Bash',
    input: {command, description: 'scripted step'},
  }
}

function toolResultBlocks(asked: MessagesRequest): Block[] {
  return (asked.messages ?? []).flatMap(({content}) =>
    typeof content === 'string' ? [] : content.filter((block) => block.type === 'tool_result'),
  )
}

function resultsIn(seen: readonly SeenRequest[]): string[] {
  const byId = new Map<string, string>()
  for (const {path, body} of seen) {
    if (path.split('?')[0] !== '/v1/messages') continue
    for (const block of toolResultBlocks(body ?? {})) {
      byId.set(block.tool_use_id ?? '', textOf(block.content))
    }
  }
  return [...byId.values()]
}

function textOf(content: unknown): string {
  if (typeof content === 'string') return content
  return Array.isArray(content) ? content.map((part: {text?: string}) => part.text ?? '').join('') : ''
}

function message(model: string, content: Content, serial: number): object {
  return {
    id: `msg_fake${serial}`,
    type: 'message',
    role: 'assistant',
    model,
    content: [content],
    stop_reason: content.type === 'tool_use' ? 'tool_use' : 'end_turn',
    stop_sequence: null,
    usage: {input_tokens: 10, output_tokens: 5},
  }
}

function sendJson(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, {'content-type': 'application/json'}).end(JSON.stringify(body))
}

function sendEvents(response: ServerResponse, model: string, content: Content, serial: number): void {
  const send = (type: string, data: object) =>
    response.write(`event: ${type}\ndata: ${JSON.stringify({type, ...data})}\n\n`)
  response.writeHead(200, {'content-type': 'text/event-stream', 'cache-control': 'no-cache'})
  send('message_start', {
    message: {
      ...message(model, content, serial),
      content: [],
      stop_reason: null,
      usage: {input_tokens: 10, output_tokens: 1},
    },
  })
  const empty = content.type === 'text' ? {...content, text: ''} : {...content, input: {}}
  send('content_block_start', {index: 0, content_block: empty})
  const delta =
    content.type === 'text'
      ? {type: 'text_delta', text: content.text}
      : {type: 'input_json_delta', partial_json: JSON.stringify(content.input)}
  send('content_block_delta', {index: 0, delta})
  send('content_block_stop', {index: 0})
  const stop = content.type === 'tool_use' ? 'tool_use' : 'end_turn'
  send('message_delta', {delta: {stop_reason: stop, stop_sequence: null}, usage: {output_tokens: 5}})
  send('message_stop', {})
  response.end()
}
