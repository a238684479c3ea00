import {Denial} from '../denial.js'
import {hasRepeatedKey} from '../mcp.js'

/** How a model API writes its requests and says what it used. */
export type Shape = 'anthropic' | 'chat' | 'responses' | 'gemini'

/** One request to a model, as far as it decides what the answer can cost. */
export interface ModelCall {
  shape: Shape
  model: string
  /** tokens, estimated */
  input: number
  /** most tokens of the answer; undefined = the request does not say */
  output: number | undefined
  /** the least that `output` may be lowered to */
  outputFloor: number
  /** the API has a field for it */
  canLower: boolean
  /** what says so when nothing does yet */
  outputField: string
  /** answers that the request asks for */
  copies: number
  /** dearer treatment that the request asks for */
  factor: number
  /** chat streams say what they used only when asked */
  needsUsage: boolean
  body: Json
}

export interface Changes {
  /** most tokens of each answer */
  output?: number
  /** a word to the agent */
  text?: string
}

type Json = Record<string, unknown>

const metered: readonly [RegExp, Shape][] = [
  [/^\/v1\/messages$/, 'anthropic'],
  [/^\/(?:v1|v1beta\/openai)\/(?:chat\/completions|completions|embeddings)$/, 'chat'],
  [/^\/v1\/responses$/, 'responses'],
  [/^\/backend-api\/codex\/responses(?:\/compact)?$/, 'responses'],
  [/^\/(?:v1|v1beta)\/models\/[^/]+:(?:generateContent|streamGenerateContent)$/, 'gemini'],
  [/^\/v1internal:(?:generateContent|streamGenerateContent)$/, 'gemini'],
]
const costsNothing: readonly RegExp[] = [
  /^\/v1\/messages\/count_tokens$/,
  /^\/v1\/moderations$/,
  /^\/v1\/responses\/input_tokens$/,
  /^\/(?:v1|v1beta)\/models\/[^/]+:countTokens$/,
  /^\/v1internal:(?:countTokens|loadCodeAssist|onboardUser|listExperiments|recordCodeAssistMetrics|retrieveUserQuota)$/,
]

const DEFAULT_OUTPUT = 32_000
/** What the provider keeps and counts as input though the request only names it. */
const KEPT_CONTEXT = 400_000
const BYTES_PER_TOKEN = 4
const SMALLEST_OUTPUT = 16
const factors: Readonly<Record<string, number>> = {priority: 2, fast: 6}

/** What a path of a model API is: its shape, `free`, or undefined for what nobody knows how to count. */
export function shapeOf(method: string, path: string): Shape | 'free' | undefined {
  if (method !== 'POST') return ['GET', 'HEAD', 'OPTIONS', 'DELETE'].includes(method) ? 'free' : undefined
  if (costsNothing.some((pattern) => pattern.test(path))) return 'free'
  return metered.find(([pattern]) => pattern.test(path))?.[1]
}

/** Throws Denial for what two parsers could read in two ways, or that is no request to a model at all. */
export function readCall(shape: Shape, path: string, bytes: Buffer): ModelCall {
  const text = bytes.toString('utf8')
  let body: unknown
  try {
    body = JSON.parse(text)
  } catch {
    throw unreadable()
  }
  if (!isObject(body) || hasRepeatedKey(text)) throw unreadable()
  const settings = settingsOf(shape, body)
  const output = firstCount(settings, outputFields[shape])
  const copies = firstCount(settings, ['n', 'candidateCount', 'candidate_count']) ?? 1
  const isEmbedding = path.endsWith('/embeddings')
  const named = /\/models\/([^/]+):/.exec(path)?.[1] ?? body['model']
  return {
    shape,
    model: typeof named === 'string' ? named.slice(0, 100) : '',
    input: Math.ceil(bytes.length / BYTES_PER_TOKEN) + (namesKeptContext(body) ? KEPT_CONTEXT : 0),
    output: isEmbedding ? 0 : output,
    outputFloor: outputFloor(body),
    // The API of subscriptions knows no such field.
    canLower: !path.startsWith('/backend-api/'),
    outputField: path.endsWith('/chat/completions')
      ? 'max_completion_tokens'
      : (outputFields[shape][0] ?? ''),
    copies: Math.max(copies, firstCount(body, ['best_of']) ?? 1),
    factor: Math.max(factors[String(body['service_tier'])] ?? 1, factors[String(body['speed'])] ?? 1),
    needsUsage: shape === 'chat' && body['stream'] === true && !asksForUsage(body),
    body,
  }
}

/** Most tokens that the answers can have. */
export function outputOf({output = DEFAULT_OUTPUT, copies}: ModelCall): number {
  return output * copies
}

/** The request as it is sent, byte for byte as it came when there is nothing to change. Changes the call's body. */
export function changed(call: ModelCall, bytes: Buffer, {output, text}: Changes): Buffer {
  if (output === undefined && text === undefined && !call.needsUsage) return bytes
  const {body} = call
  if (call.needsUsage) {
    const options = isObject(body['stream_options']) ? body['stream_options'] : {}
    body['stream_options'] = {...options, include_usage: true}
  }
  if (output !== undefined) {
    const settings = settingsOf(call.shape, body)
    const given = outputFields[call.shape].filter((field) => field in settings)
    for (const field of given.length > 0 ? given : [call.outputField]) settings[field] = output
  }
  if (text !== undefined) tell(call.shape, body, text)
  return Buffer.from(JSON.stringify(body))
}

const outputFields: Readonly<Record<Shape, readonly string[]>> = {
  anthropic: ['max_tokens'],
  chat: ['max_tokens', 'max_completion_tokens'],
  responses: ['max_output_tokens'],
  gemini: ['maxOutputTokens', 'max_output_tokens'],
}

/** Where a request says how long the answer may be; made when it is not there. */
function settingsOf(shape: Shape, body: Json): Json {
  if (shape !== 'gemini') return body
  const request = isObject(body['request']) ? body['request'] : body
  // Two spellings of one field: nobody knows which one counts.
  if ('generation_config' in request && 'generationConfig' in request) throw unreadable()
  const field = 'generation_config' in request ? 'generation_config' : 'generationConfig'
  const settings = request[field]
  if (isObject(settings)) return settings
  const made: Json = {}
  request[field] = made
  return made
}

function outputFloor(body: Json): number {
  const thinking = isObject(body['thinking']) ? firstCount(body['thinking'], ['budget_tokens']) : undefined
  return thinking === undefined ? SMALLEST_OUTPUT : thinking + SMALLEST_OUTPUT
}

/** The largest of the fields given, so that naming it twice in two ways gains nothing. */
function firstCount(value: Json, fields: readonly string[]): number | undefined {
  const counts = fields.flatMap((field) => {
    const given = value[field]
    // Protocol buffers take a number in quotes for a number.
    const count = typeof given === 'string' && /^\d{1,15}$/.test(given) ? Number(given) : given
    return typeof count === 'number' && Number.isFinite(count) && count >= 0 ? [Math.ceil(count)] : []
  })
  return counts.length === 0 ? undefined : Math.max(...counts)
}

function namesKeptContext(body: Json): boolean {
  const names = ['previous_response_id', 'conversation', 'cachedContent', 'cached_content', 'container']
  const request = isObject(body['request']) ? body['request'] : {}
  return names.some((name) => (body[name] ?? request[name] ?? null) !== null)
}

function asksForUsage(body: Json): boolean {
  return isObject(body['stream_options']) && body['stream_options']['include_usage'] === true
}

/** Adds a text at the end of what the person or a tool said last, so that nothing cached before it changes. */
function tell(shape: Shape, body: Json, text: string): void {
  const request = isObject(body['request']) ? body['request'] : body
  const list = shape === 'gemini' ? request['contents'] : (body['messages'] ?? body['input'])
  if (typeof body['input'] === 'string' && shape === 'responses')
    body['input'] = `${body['input']}\n\n${text}`
  if (!Array.isArray(list)) return
  const last: unknown = (list as unknown[]).at(-1)
  if (shape === 'responses') list.push({type: 'message', role: 'user', content: [{type: 'input_text', text}]})
  else if (!isObject(last)) return
  else if (shape === 'gemini') {
    if (last['role'] !== 'model' && Array.isArray(last['parts'])) last['parts'].push({text})
  } else if (last['role'] === 'user') {
    if (Array.isArray(last['content'])) last['content'].push({type: 'text', text})
    else if (typeof last['content'] === 'string') last['content'] = `${last['content']}\n\n${text}`
  } else if (last['role'] === 'tool') list.push({role: 'user', content: text})
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function unreadable(): Denial {
  return new Denial('model_request_unreadable', {
    status: 400,
    hint: 'Send one JSON object without repeated keys.',
  })
}
