import type {Shape} from './calls.js'
import {noUsage, type Usage} from './prices.js'

/** What an answer said so far about what it used. */
export interface Seen {
  usage: Usage
  /** the last word: the provider bills this */
  final: boolean
  /** characters of the answer itself, for what ends before the last word */
  written: number
}

export const nothingSeen: Seen = {usage: noUsage, final: false, written: 0}

type Json = Record<string, unknown>

/** Reads one event, or a whole answer, into what was seen before. Counts only grow: providers repeat them. */
export function see(shape: Shape, seen: Seen, value: unknown): Seen {
  if (Array.isArray(value)) return value.reduce<Seen>((sum, item) => see(shape, sum, item), seen)
  if (!isObject(value)) return seen
  const {usage, final} = readers[shape](value)
  return {
    usage: usage ? larger(seen.usage, usage) : seen.usage,
    final: seen.final || final,
    written: seen.written + writtenIn(value),
  }
}

const readers: Readonly<Record<Shape, (value: Json) => {usage: Usage | undefined; final: boolean}>> = {
  anthropic: (value) => {
    const found = object(value['usage']) ?? object(object(value['message'])?.['usage'])
    const written = object(found?.['cache_creation'])
    const long = count(written?.['ephemeral_1h_input_tokens'])
    return {
      usage: found && {
        input: count(found['input_tokens']),
        cacheRead: count(found['cache_read_input_tokens']),
        cacheWrite: Math.max(0, count(found['cache_creation_input_tokens']) - long),
        cacheWriteLong: long,
        output: count(found['output_tokens']),
      },
      final: found !== undefined && (value['type'] === 'message_delta' || value['type'] === 'message'),
    }
  },
  chat: (value) => {
    const found = object(value['usage'])
    const cached = count(object(found?.['prompt_tokens_details'])?.['cached_tokens'])
    const input = count(found?.['prompt_tokens'] ?? found?.['total_tokens'])
    return {
      usage: found && split(input, cached, count(found['completion_tokens'])),
      final: found !== undefined,
    }
  },
  responses: (value) => {
    const found = object(value['usage']) ?? object(object(value['response'])?.['usage'])
    const cached = count(object(found?.['input_tokens_details'])?.['cached_tokens'])
    return {
      usage: found && split(count(found['input_tokens']), cached, count(found['output_tokens'])),
      final: found !== undefined,
    }
  },
  gemini: (value) => {
    const found = object(value['usageMetadata']) ?? object(object(value['response'])?.['usageMetadata'])
    const input = count(found?.['promptTokenCount']) + count(found?.['toolUsePromptTokenCount'])
    const output = count(found?.['candidatesTokenCount']) + count(found?.['thoughtsTokenCount'])
    const answer = object(value['response']) ?? value
    const [first] = Array.isArray(answer['candidates']) ? (answer['candidates'] as unknown[]) : []
    return {
      usage: found && split(input, count(found['cachedContentTokenCount']), output),
      final: found !== undefined && object(first)?.['finishReason'] !== undefined,
    }
  },
}

function split(input: number, cached: number, output: number): Usage {
  return {...noUsage, input: Math.max(0, input - cached), cacheRead: Math.min(cached, input), output}
}

function larger(a: Usage, b: Usage): Usage {
  return {
    input: Math.max(a.input, b.input),
    cacheRead: Math.max(a.cacheRead, b.cacheRead),
    cacheWrite: Math.max(a.cacheWrite, b.cacheWrite),
    cacheWriteLong: Math.max(a.cacheWriteLong, b.cacheWriteLong),
    output: Math.max(a.output, b.output),
  }
}

/** Characters that the model wrote in one event. */
function writtenIn(value: Json): number {
  const delta = value['delta']
  if (typeof delta === 'string') return delta.length
  const texts = object(delta)
  if (texts) return ['text', 'thinking', 'partial_json'].reduce((sum, key) => sum + lengthOf(texts[key]), 0)
  const choices = Array.isArray(value['choices']) ? (value['choices'] as unknown[]) : []
  return choices.reduce<number>(
    (sum, choice) => sum + lengthOf(object(object(choice)?.['delta'])?.['content']),
    0,
  )
}

function lengthOf(value: unknown): number {
  return typeof value === 'string' ? value.length : 0
}

function count(value: unknown): number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value > 0 ? value : 0
}

function object(value: unknown): Json | undefined {
  return isObject(value) ? value : undefined
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
