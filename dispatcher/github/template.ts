/** One part of a path template: a literal, or a parameter by name. */
export type Template = readonly (string | {name: string; rest: boolean})[]

/** Parameters that may hold slashes: they take all the parts that are left. */
const LONG = new Set(['path', 'ref', 'basehead'])

/** `/repos/{owner}/{repo}/pulls/{pull_number}` as parts. */
export function parseTemplate(path: string): Template {
  return path
    .split('/')
    .slice(path === '/' ? 2 : 1)
    .map((part) => {
      const name = /^\{(\w+)\}$/.exec(part)?.[1]
      return name === undefined ? part : {name, rest: LONG.has(name)}
    })
}

/** The parameters of a path that fits, by name; one that holds slashes is joined again. */
export function matchTemplate(
  template: Template,
  segments: readonly string[],
): Record<string, string> | undefined {
  const found: Record<string, string> = {}
  let at = 0
  for (const [index, part] of template.entries()) {
    if (typeof part === 'string') {
      if (segments[at] !== part) return undefined
      at++
      continue
    }
    const after = template.length - index - 1
    const end = part.rest ? segments.length - after : at + 1
    if (end <= at || end > segments.length) return undefined
    found[part.name] = segments.slice(at, end).join('/')
    at = end
  }
  return at === segments.length ? found : undefined
}

/** The path again, each part encoded anew. */
export function fillTemplate(template: Template, values: Readonly<Record<string, string>>): string {
  return template
    .map((part) => {
      const text = typeof part === 'string' ? part : (values[part.name] ?? '')
      return text.split('/').map(encodeURIComponent).join('/')
    })
    .map((part) => `/${part}`)
    .join('')
}

/**
 * The decoded parts of a path as it came; undefined when it is not the one plain spelling: empty parts, `.` and `..`,
 * an encoded slash, backslash, dot or control character, `;`, anything beyond ASCII.
 */
export function segmentsOf(path: string): string[] | undefined {
  if (!path.startsWith('/') || path.length > 2048) return undefined
  const segments: string[] = []
  for (const raw of path === '/' ? [] : path.slice(1).split('/')) {
    if (!/^(?:[A-Za-z0-9._~!$&'()*+,=:@-]|%[0-9A-Fa-f]{2})+$/.test(raw)) return undefined
    if (/%(?:2[ef]|5c|[01][0-9a-f]|7f)/i.test(raw)) return undefined
    let decoded: string
    try {
      decoded = decodeURIComponent(raw)
    } catch {
      return undefined
    }
    if (decoded === '.' || decoded === '..') return undefined
    segments.push(decoded)
  }
  return segments
}
