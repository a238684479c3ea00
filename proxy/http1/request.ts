import type {UpstreamRequest} from '../upstream.js'
import {AnswerError} from './answer.js'

const token = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/
const noFieldText = /[^\t\u0020-\u007e\u0080-\u00ff]/
const noTarget = /[^\u0021-\u007e]/
/** They say something about an empty body; the others have none. */
const bodyMethods: ReadonlySet<string> = new Set(['PATCH', 'POST', 'PROPFIND', 'PROPPATCH', 'PUT', 'QUERY'])

/**
 * The header block of a request, framing of its own; ISO 8859-1. Throws AnswerError for what would not be read as it
 * is meant: no line can begin in a value, and no character is written as another.
 * @param connection the value of the header of that name
 */
export function requestHead(request: UpstreamRequest, connection = 'keep-alive'): string {
  const {method, path, headers, body} = request
  if (!token.test(method) || path === '' || noTarget.test(path)) throw new AnswerError('no method or path')
  let text = `${method} ${path} HTTP/1.1\r\n`
  for (const [name, value] of headers) {
    if (!token.test(name) || noFieldText.test(value)) throw new AnswerError(`no header: ${name}`)
    text += `${name}: ${value}\r\n`
  }
  text += `connection: ${connection}\r\n`
  const length = Buffer.isBuffer(body) ? body.length : body ? request.length : undefined
  if (length !== undefined) text += `content-length: ${length}\r\n`
  else if (body) text += 'transfer-encoding: chunked\r\n'
  else if (bodyMethods.has(method)) text += 'content-length: 0\r\n'
  return `${text}\r\n`
}
