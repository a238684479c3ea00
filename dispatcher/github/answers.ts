import type {IncomingHttpHeaders, ServerResponse} from 'node:http'
import {uncached} from '../socket-api.js'
import {plain} from '../wire/text.js'

/** Everything else that GitHub sends along stays here: cookies, scopes, when tokens end. */
const passed = [
  'content-type',
  'etag',
  'last-modified',
  'retry-after',
  'x-github-media-type',
  'x-github-request-id',
  'x-ratelimit-limit',
  'x-ratelimit-remaining',
  'x-ratelimit-reset',
  'x-ratelimit-resource',
  'x-ratelimit-used',
] as const

/** The shape in which gh prints `HTTP 403: cage: …`, for GraphQL `GraphQL: cage: …`. */
export function refuseApi(
  response: ServerResponse,
  kind: 'rest' | 'graphql',
  status: number,
  message: string,
): void {
  const text = `cage: ${plain(message)}`
  const body =
    kind === 'graphql' && status < 500
      ? {data: null, errors: [{type: 'FORBIDDEN', message: text}]}
      : {message: text, documentation_url: 'https://docs.github.com/rest'}
  const shown = kind === 'graphql' && status < 500 ? 200 : status
  response
    .writeHead(shown, {...uncached, 'content-type': 'application/json; charset=utf-8'})
    .end(JSON.stringify(body))
}

/** What of GitHub's headers goes on to the task; links to further pages become those of the request itself. */
export function passedHeaders(headers: IncomingHttpHeaders, target: string): Record<string, string> {
  const found: Record<string, string> = {}
  for (const name of passed) {
    const value = headers[name]
    if (typeof value === 'string') found[name] = value
  }
  const given = headers['link']
  const link = typeof given === 'string' ? linksOf(given, target) : ''
  if (link !== '') found['link'] = link
  return found
}

/** GitHub names the repository by number in its links, which is no path of ours. */
function linksOf(link: string, target: string): string {
  const path = target.split('?')[0] ?? ''
  return [...link.matchAll(/<([^<>]+)>;\s*rel="(next|prev|first|last)"/g)]
    .flatMap(([, url = '', rel = '']) => {
      const query = URL.canParse(url) ? new URL(url).search : ''
      return query === '' ? [] : [`<https://api.github.com${path}${query}>; rel="${rel}"`]
    })
    .join(', ')
}
