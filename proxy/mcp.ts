import {Denial} from './denial.js'

export interface McpMessage {
  method: string
  tool?: string
}

const envelope = ['jsonrpc', 'id', 'method', 'params', 'result', 'error'] as const

/**
 * The calls in a body of MCP over HTTP: one JSON-RPC message or a batch; answers of the client carry no method and
 * are left out. Throws Denial for what two parsers could read in two ways.
 */
export function mcpMessages(body: Buffer): McpMessage[] {
  const text = body.toString('utf8')
  if (!Buffer.from(text).equals(body) || hasRepeatedKey(text)) throw unreadable()
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw unreadable()
  }
  const list = Array.isArray(value) ? (value as unknown[]) : [value]
  return list.flatMap((message) => {
    if (!isObject(message) || message['jsonrpc'] !== '2.0' || hasLikeness(message, envelope))
      throw unreadable()
    const {method, params} = message
    if (isObject(params) && hasLikeness(params, ['name'])) throw unreadable()
    if (method === undefined && ('result' in message || 'error' in message)) return []
    if (typeof method !== 'string') throw unreadable()
    if (method !== 'tools/call') return [{method}]
    const name = isObject(params) ? params['name'] : undefined
    if (typeof name !== 'string') throw unreadable()
    return [{method, tool: name}]
  })
}

/** Whether a key is one of the names but for its case: to parsers as those of Go it is that name. */
function hasLikeness(value: Record<string, unknown>, names: readonly string[]): boolean {
  return Object.keys(value).some((key) => !names.includes(key) && names.includes(foldedCase(key)))
}

/** Also letters that are small or capital forms of ASCII ones, as the long s and the sign for kelvin. */
function foldedCase(text: string): string {
  return text.toLowerCase().toUpperCase().toLowerCase()
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function unreadable(): Denial {
  return new Denial('mcp_unreadable', {status: 400, hint: 'Send JSON-RPC 2.0 without repeated keys.'})
}

/** Whether some object names a key twice, escapes undone: parsers differ in which one they take. */
export function hasRepeatedKey(text: string): boolean {
  const open: (Set<string> | undefined)[] = []
  const tokens = /"[^"\\]*(?:\\.[^"\\]*)*"(\s*:)?|[{}[\]]/g
  for (const [token, colon] of text.matchAll(tokens)) {
    if (token === '{') open.push(new Set())
    else if (token === '[') open.push(undefined)
    else if (token === '}' || token === ']') open.pop()
    else if (colon !== undefined) {
      const key = unescaped(token.slice(0, token.length - colon.length))
      const keys = open.at(-1)
      if (keys?.has(key)) return true
      keys?.add(key)
    }
  }
  return false
}

function unescaped(quoted: string): string {
  try {
    return String(JSON.parse(quoted))
  } catch {
    return quoted
  }
}
