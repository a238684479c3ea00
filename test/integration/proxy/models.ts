import type {IncomingMessage, ServerResponse} from 'node:http'

/** What a test wants a fake model to say and do; sent as JSON in the header `x-fake`. */
export interface Wanted {
  input?: number
  output?: number
  /** milliseconds between the first event and the rest */
  holdMs?: number
  /** the stream breaks off before it says what it used */
  cut?: boolean
  status?: number
  /** words before the end */
  words?: string[]
}

type Json = Record<string, unknown>

/** Answers as Messages, Chat Completions, Responses and Gemini document it; false for other paths. */
export function answerAsModel(request: IncomingMessage, response: ServerResponse, body: Buffer): boolean {
  const path = (request.url ?? '').split('?')[0] ?? ''
  const speak = Object.entries(dialects).find(([suffix]) => path.endsWith(suffix))?.[1]
  if (!speak || request.method !== 'POST') return false
  const wanted = JSON.parse(String(request.headers['x-fake'] ?? '{}')) as Wanted
  if (wanted.status !== undefined) {
    response.writeHead(wanted.status, {'content-type': 'application/json'}).end('{"error":{}}')
    return true
  }
  const asked = JSON.parse(body.toString()) as Json
  const streamed = asked['stream'] === true || path.endsWith(':streamGenerateContent')
  const {first, last, whole} = speak(wanted.input ?? 10, wanted.output ?? 5, asked)
  if (!streamed) {
    const send = () =>
      response.writeHead(200, {'content-type': 'application/json'}).end(JSON.stringify(whole))
    setTimeout(send, wanted.holdMs ?? 0)
    return true
  }
  response.writeHead(200, {'content-type': 'text/event-stream'})
  const write = (event: Json) =>
    response.write(
      `${'type' in event ? `event: ${String(event['type'])}\n` : ''}data: ${JSON.stringify(event)}\n\n`,
    )
  first.forEach(write)
  for (const text of wanted.words ?? [])
    write({type: 'content_block_delta', index: 0, delta: {type: 'text_delta', text}})
  setTimeout(() => {
    if (wanted.cut) {
      response.destroy()
      return
    }
    last.forEach(write)
    response.end()
  }, wanted.holdMs ?? 0)
  return true
}

const dialects: Record<
  string,
  (input: number, output: number, asked: Json) => {first: Json[]; last: Json[]; whole: Json}
> = {
  '/v1/messages': (input, output) => ({
    first: [{type: 'message_start', message: {usage: {input_tokens: input, output_tokens: 1}}}],
    last: [{type: 'message_delta', delta: {}, usage: {output_tokens: output}}, {type: 'message_stop'}],
    whole: {type: 'message', content: [], usage: {input_tokens: input, output_tokens: output}},
  }),
  '/v1/chat/completions': (input, output, asked) => {
    const usage = {prompt_tokens: input, completion_tokens: output}
    const includes = (asked['stream_options'] as Json | undefined)?.['include_usage'] === true
    return {
      first: [{choices: [{delta: {content: 'hello'}}]}],
      last: includes ? [{choices: [], usage}] : [],
      whole: {choices: [{message: {content: 'hello'}}], usage},
    }
  },
  '/v1/responses': (input, output) => {
    const usage = {input_tokens: input, output_tokens: output}
    const item = {type: 'message', role: 'assistant', content: [{type: 'output_text', text: 'hello'}]}
    const total = {...usage, total_tokens: input + output}
    return {
      first: [{type: 'response.created', response: {id: 'r1', usage: null}}],
      last: [
        {type: 'response.output_item.done', output_index: 0, item},
        {type: 'response.completed', response: {id: 'r1', usage: total}},
      ],
      whole: {object: 'response', usage},
    }
  },
  ':streamGenerateContent': (input, output) => ({
    first: [{candidates: [{content: {}}], usageMetadata: {promptTokenCount: input}}],
    last: [
      {
        candidates: [{finishReason: 'STOP'}],
        usageMetadata: {promptTokenCount: input, candidatesTokenCount: output - 2, thoughtsTokenCount: 2},
      },
    ],
    whole: {},
  }),
}
