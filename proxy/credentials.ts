import type {CredentialBinding} from '../policy/grant.js'
import {Denial} from './denial.js'
import type {Enforcement} from './enforcement.js'
import {plainName, type Headers} from './facts.js'
import {isSignedWith, sign, signatureHeaders, signingKeys, type Signed, type Unsigned} from './sigv4.js'
import type {Endpoint} from './target.js'

export interface Substitution {
  /** as they go out, real values inside */
  headers: Headers
  /** what the detectors look at: the same without the lines that hold a substituted value */
  judged: Headers
  /** names of the credentials that were put in */
  used: string[]
  /** the request carries a signature with this one's placeholder: it has to be signed anew */
  signs?: CredentialBinding
}

/** Where clients put a credential of their own, by the words of the name. On a bound host they would act for somebody else. */
const callerCredential =
  /(?:^|-)(?:api-?(?:key|secret)|(?:access|client|secret|session|subscription|user)-key|auth|authentication|authorization|cookie2?|credentials?|jwt|passw(?:or)?d|secret|token)(?:-|$)/
/** What proves where a request was made, or where it goes on, and not who asks. */
const noCredential = /(?:^|-)(?:atlassian|client|continuation|csrf|idempotency|xsrf)-token$/

/** Parameters of an address that say who asks; signed addresses included. */
const callerParameters: ReadonlySet<string> = new Set([
  'access_token',
  'api-key',
  'api_key',
  'api_token',
  'apikey',
  'auth_token',
  'client_secret',
  'oauth_token',
  'private_token',
  'sig',
  'x-amz-credential',
  'x-amz-security-token',
  'x-amz-signature',
  'x-goog-credential',
  'x-goog-signature',
])

/**
 * Puts real values in place of placeholders: only in the bound header, only when the whole value fits the template,
 * only over TLS. Any other credential of the caller on such a host is dropped, as it is at models and routes; a foreign
 * one in the bound header is refused. Throws Denial.
 */
export function substituteHeaders(
  headers: Headers,
  endpoint: Endpoint,
  enforcement: Enforcement,
): Substitution {
  const bindings = enforcement.bindingsOf(endpoint.host, endpoint.port)
  if (!enforcement.stripsCallers(endpoint.host, endpoint.port)) return {headers, judged: headers, used: []}
  if (bindings.length === 0) {
    const kept = headers.filter(([name]) => !isCallerCredential(name))
    return {headers: kept, judged: kept, used: []}
  }
  if (endpoint.scheme !== 'https') throw new Denial('credential_plaintext')
  const result: Substitution = {headers: [], judged: [], used: []}
  for (const [name, value] of headers) {
    const bound = bindings.filter((binding) => headerOf(binding) === name.toLowerCase())
    if (bound.length === 0) {
      if (isCallerCredential(name)) {
        // Dropping it would do as well, but nobody would learn why the answer is a refusal.
        const meant = bindings.find(({placeholder}) => value.includes(placeholder))
        if (meant) throw new Denial('placeholder_unbound', {rule: meant.name, detail: 'header'})
        continue
      }
      result.headers.push([name, value])
      result.judged.push([name, value])
      continue
    }
    const signs = bound.find(
      ({inject, placeholder}) => inject.kind === 'sigv4' && isSignedWith(value, placeholder),
    )
    if (signs) {
      result.signs = signs
      result.used.push(signs.name)
      continue
    }
    const match = bound.find((binding) => slot(binding, value.trim()))
    if (!match) throw foreign(bound, value)
    result.headers.push([name, slot(match, value.trim())?.(realValue(match, enforcement)) ?? ''])
    result.used.push(match.name)
  }
  return result.signs ? withoutSignature(result) : result
}

function isCallerCredential(name: string): boolean {
  const plain = plainName(name.toLowerCase())
  return callerCredential.test(plain) && !noCredential.test(plain)
}

/** What the old signature was made of goes with it. Throws Denial for a body that is signed in pieces. */
function withoutSignature(result: Substitution): Substitution {
  const pieces = result.headers.some(
    ([name, value]) => name.toLowerCase() === 'x-amz-content-sha256' && /^STREAMING-/i.test(value.trim()),
  )
  if (pieces)
    throw new Denial('credential_unsupported', {
      rule: result.signs?.name ?? null,
      hint: 'Send the body as a whole: AWS_REQUEST_CHECKSUM_CALCULATION=when_required.',
    })
  const kept = (headers: Headers) => headers.filter(([name]) => !signatureHeaders.has(name.toLowerCase()))
  return {...result, headers: kept(result.headers), judged: kept(result.judged)}
}

/** The request as AWS verifies it, signed with the real keys. Throws Denial. */
export function signAnew(
  request: Unsigned,
  binding: CredentialBinding,
  enforcement: Enforcement,
  now: Date,
): Signed {
  const keys = signingKeys(realValue(binding, enforcement))
  if (!keys || binding.inject.kind !== 'sigv4') throw new Denial('credential_missing', {rule: binding.name})
  return sign(request, binding.inject, keys, now)
}

/** An address that carries a credential of the caller, where it would act for somebody else. Throws Denial. */
export function checkQuery({host, port, query}: Endpoint & {query: string}, enforcement: Enforcement): void {
  if (query === '' || !enforcement.stripsCallers(host, port)) return
  for (const name of new URLSearchParams(query).keys()) {
    const folded = name.toLowerCase()
    // Elsewhere `key` is a word like any other.
    const isKey = folded === 'key' && host.endsWith('.googleapis.com')
    if (isKey || callerParameters.has(folded))
      throw new Denial('credential_foreign', {detail: `query ${folded}`})
  }
}

/** The header that a binding speaks of, lower case. */
function headerOf(binding: CredentialBinding): string | undefined {
  if (binding.inject.kind === 'header') return binding.inject.header.toLowerCase()
  return binding.inject.kind === 'json' ? undefined : 'authorization'
}

/** When the value is the binding's template around its placeholder: how to write it with another value. */
function slot(
  {inject, placeholder}: CredentialBinding,
  value: string,
): ((real: string) => string) | undefined {
  if (inject.kind === 'header') {
    const filled = (text: string) => inject.template.replace('{}', () => text)
    return value === filled(placeholder) ? filled : undefined
  }
  if (inject.kind !== 'basic') return undefined
  const encoded = /^basic +([A-Za-z0-9+/]+=*)$/i.exec(value)?.[1]
  if (encoded === undefined) return undefined
  const pair = Buffer.from(encoded, 'base64').toString('latin1')
  const colon = pair.indexOf(':')
  const user = pair.slice(0, colon)
  if (colon < 0 || pair.slice(colon + 1) !== placeholder) return undefined
  if (inject.user !== '' && user !== '' && user !== inject.user) return undefined
  return (real) => `Basic ${Buffer.from(`${inject.user || user}:${real}`, 'latin1').toString('base64')}`
}

function realValue(binding: CredentialBinding, enforcement: Enforcement): string {
  const value = enforcement.valueOf(binding.name)
  if (value === undefined) throw new Denial('credential_missing', {rule: binding.name})
  return value
}

function foreign(bound: readonly CredentialBinding[], value: string): Denial {
  const signed = bound.find(({inject}) => inject.kind === 'sigv4')
  if (signed) return new Denial('credential_unsupported', {rule: signed.name})
  const holdsPlaceholder = bound.some(({placeholder}) => value.includes(placeholder))
  return new Denial(holdsPlaceholder ? 'placeholder_unbound' : 'credential_foreign', {
    rule: bound[0]?.name ?? null,
  })
}

/** Whether the body has to be known as a whole because a value may stand at a JSON pointer in it. */
export function bindsBody(endpoint: Endpoint, enforcement: Enforcement): boolean {
  return enforcement.bindingsOf(endpoint.host, endpoint.port).some(({inject}) => inject.kind === 'json')
}

/**
 * Puts real values at the bound JSON pointers, where the whole text there is the placeholder. Every other byte stays
 * as it is: the same text elsewhere in the body is inert. Throws Denial.
 */
export function substituteBody(
  body: Buffer,
  endpoint: Endpoint,
  enforcement: Enforcement,
): {body: Buffer; used: string[]} {
  const used: string[] = []
  let text = body.toString('utf8')
  for (const binding of enforcement.bindingsOf(endpoint.host, endpoint.port)) {
    const {inject, placeholder} = binding
    if (inject.kind !== 'json' || valueAt(text, inject.pointer) !== placeholder) continue
    const real = realValue(binding, enforcement)
    const quoted = JSON.stringify(placeholder)
    const replaced = occurrences(text, quoted)
      .map((at) => text.slice(0, at) + JSON.stringify(real) + text.slice(at + quoted.length))
      .find((candidate) => valueAt(candidate, inject.pointer) === real)
    if (replaced === undefined) throw new Denial('placeholder_unbound', {rule: binding.name})
    text = replaced
    used.push(binding.name)
  }
  return used.length === 0 ? {body, used} : {body: Buffer.from(text), used}
}

const MAX_OCCURRENCES = 64

function occurrences(text: string, wanted: string): number[] {
  const found: number[] = []
  for (
    let at = text.indexOf(wanted);
    at >= 0 && found.length < MAX_OCCURRENCES;
    at = text.indexOf(wanted, at + 1)
  )
    found.push(at)
  return found
}

/** The value at a JSON pointer (RFC 6901); undefined when the text is no JSON or there is none. */
function valueAt(text: string, pointer: string): unknown {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return undefined
  }
  for (const part of pointer.split('/').slice(1)) {
    if (typeof value !== 'object' || value === null) return undefined
    const key = part.replaceAll('~1', '/').replaceAll('~0', '~')
    value = Object.hasOwn(value, key) ? (value as Record<string, unknown>)[key] : undefined
  }
  return value
}
