import type {GithubWrite} from '../../policy/grant.js'
import {ApiDenied} from './denied.js'
import type {OwnRepository} from './document.js'
import {checkFields, type CheckedInput} from './fields.js'
import {routes, type Route} from './routes.js'
import {requireSearchHere} from './search.js'
import {fillTemplate, matchTemplate, segmentsOf} from './template.js'
import {whyNotWrite} from './write-classes.js'

/** One REST request, matched, judged as far as that goes without asking GitHub, and built anew. */
export interface RestRequest {
  route: Route
  parameters: Record<string, string>
  /** path and query for GitHub */
  target: string
  /** of a write */
  input?: CheckedInput
  /** JSON for GitHub */
  body?: string
  needs: GithubWrite[]
}

/** Filters and pages of lists. They choose what is read and reach nothing else. */
const queryNames = new Set([
  'actor', 'after', 'anon', 'app_id', 'assignee', 'author', 'base', 'before', 'branch', 'check_name',
  'check_suite_id', 'created', 'creator', 'direction', 'event', 'exclude_pull_requests', 'filter', 'head', 'head_sha',
  'labels', 'mentioned', 'milestone', 'name', 'order', 'page', 'path', 'per_page', 'protected', 'q', 'recursive', 'ref',
  'sha', 'since', 'sort', 'state', 'status', 'type', 'until',
]) // prettier-ignore

/** Reads a request other than to /graphql. Throws ApiDenied. */
export function readRest(method: string, target: string, body: string, task: OwnRepository): RestRequest {
  const [path, query] = split(target)
  const segments = segmentsOf(path)
  if (!segments) throw new ApiDenied('github.path', 'this path is not spelled as GitHub documents it', 404)
  const here = hereOf(segments, task)
  for (const route of routes) {
    if (route.method !== method) continue
    const parameters = matchTemplate(route.template, here)
    if (!parameters) continue
    if (parameters['basehead']?.includes(':') === true)
      throw new ApiDenied('github.repository', 'a task compares within its own repository only')
    const rebuilt = `${fillTemplate(route.template, parameters)}${queryOf(query, route, task)}`
    return {route, parameters, target: rebuilt === '' ? '/' : rebuilt, ...bodyOf(route, body, task)}
  }
  if (method === 'GET' || method === 'HEAD')
    throw new ApiDenied('github.route', 'this is not among what a task may read on GitHub', 404)
  throw new ApiDenied(
    'github.never',
    `${method} is not available to a task here: ${whyNotWrite(method, here)}`,
  )
}

function split(target: string): [string, string | undefined] {
  const at = target.indexOf('?')
  return at < 0 ? [target, undefined] : [target.slice(0, at), target.slice(at + 1)]
}

/** The path with the repository in the spelling of the grant; another repository looks like none. */
function hereOf(segments: string[], {owner, name}: OwnRepository): string[] {
  const [root, first, second, ...rest] = segments
  if (root !== 'repos' || first === undefined || second === undefined) return segments
  if (first.toLowerCase() !== owner.toLowerCase() || second.toLowerCase() !== name.toLowerCase())
    throw new ApiDenied(
      'github.repository',
      `a task sees its own repository only, which is ${owner}/${name}`,
      404,
    )
  return [root, owner, name, ...rest]
}

function queryOf(query: string | undefined, route: Route, task: OwnRepository): string {
  if (query === undefined || query === '') return ''
  if (query.length > 4096) throw new ApiDenied('github.query', 'the query of this address is too long')
  const given = [...new URLSearchParams(query)]
  const names = given.map(([name]) => name)
  const unknown = names.find(
    (name) => !queryNames.has(name) || names.filter((one) => one === name).length > 1,
  )
  if (route.method !== 'GET' || unknown !== undefined)
    throw new ApiDenied('github.query', 'this address has a query parameter that is not passed on')
  if (route.path.startsWith('/search/')) requireSearchHere(new Map(given).get('q'), task)
  return `?${new URLSearchParams(given).toString()}`
}

function bodyOf(
  route: Route,
  body: string,
  task: OwnRepository,
): Pick<RestRequest, 'input' | 'body' | 'needs'> {
  if (!route.fields || !route.write) {
    if (body.trim() !== '') throw new ApiDenied('github.body', 'this request has no body')
    return {needs: []}
  }
  const input = checkFields(route.fields, parsed(body), task)
  for (const name of route.required ?? [])
    if (input.values[name] === undefined) throw new ApiDenied('github.field', `${name} is missing`, 422)
  const needs: GithubWrite[] = [route.write]
  if (route.needs && input.values[route.needs.field] !== undefined) needs.push(route.needs.write)
  return {input, body: JSON.stringify(input.values), needs}
}

function parsed(body: string): Record<string, unknown> {
  if (body.trim() === '') return {}
  try {
    const value = JSON.parse(body) as unknown
    if (typeof value === 'object' && value !== null && !Array.isArray(value))
      return value as Record<string, unknown>
  } catch {
    // refused below
  }
  throw new ApiDenied('github.body', 'the body is not one JSON object', 400)
}
