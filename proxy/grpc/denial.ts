import {denialBody, type Denial, type DenialFacts} from '../denial.js'
import type {Headers} from '../facts.js'

/** gRPC status codes. */
const RESOURCE_EXHAUSTED = 8
const PERMISSION_DENIED = 7
const UNAVAILABLE = 14

/** A denial in the form that gRPC clients show: a header block that is the whole answer. The message is the JSON. */
export function grpcDenial(denial: Denial, facts: DenialFacts): Headers {
  const code =
    denial.status === 429 ? RESOURCE_EXHAUSTED : denial.status >= 500 ? UNAVAILABLE : PERMISSION_DENIED
  const text = denialBody(denial, facts, false).body.toString('utf8').trim()
  return [
    ['content-type', 'application/grpc'],
    ['grpc-status', String(code)],
    ['grpc-message', percentEncoded(text)],
  ]
}

/** Everything but printable ASCII, and the sign itself, as the protocol wants it. */
function percentEncoded(text: string): string {
  const hex = (byte: number) => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`
  return text.replace(/[^\u0020-\u0024\u0026-\u007e]+/g, (part) =>
    Array.from(Buffer.from(part), hex).join(''),
  )
}
