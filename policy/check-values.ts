import {classify, mayBeOpened, parseOpening} from './addresses.js'
import {branchProblem} from './branch.js'
import {canonicalHost, canonicalPath, isRefused} from './canonical.js'
import {messageOf} from '../core/errors.js'
import {globProblem} from './glob.js'
import {isPathListName} from './path-lists.js'
import {presetNames, presetOf} from './presets.js'
import {shown} from './problems.js'
import {refNameProblem} from './ref-name.js'
import {nearest} from './validate.js'

/** Why a value is not what its field wants, in words with what was found; undefined = fine. */
export type ValueProblem = string | undefined

/** A rule's host: canonical name or address, or `*.` and a canonical suffix of two labels and more. */
export function ruleHostProblem(host: string): ValueProblem {
  const suffix = host.startsWith('*.') ? host.slice(2) : undefined
  const canonical = canonicalHost(suffix ?? host)
  if (isRefused(canonical))
    return `expected a host such as api.example.com or *.example.com, got ${shown(host)}`
  if (canonical.kind === 'name') {
    if (suffix !== undefined && !suffix.includes('.'))
      return `a wildcard needs at least two labels behind it, got ${shown(host)}`
    return undefined
  }
  if (suffix !== undefined) return `an address cannot have a wildcard, got ${shown(host)}`
  const kind = classify(canonical.host)
  return kind === 'public'
    ? undefined
    : `${canonical.host} is a ${kind ?? 'bad'} address: rules open public hosts, the operator's network.hosts the others`
}

export function exactHostProblem(host: string): ValueProblem {
  return host.startsWith('*.') ? `expected one exact host, got ${shown(host)}` : ruleHostProblem(host)
}

export function pathGlobProblem(glob: string): ValueProblem {
  const problem = globProblem(glob)
  if (problem !== undefined) return `${problem}, got ${shown(glob)}`
  const canonical = canonicalPath(glob)
  if (typeof canonical !== 'string') return `no request can have this path, got ${shown(glob)}`
  return canonical === glob
    ? undefined
    : `no request can have this path, write ${canonical}, got ${shown(glob)}`
}

export function presetProblem(name: string): ValueProblem {
  if (presetOf(name)) return undefined
  const near = nearest(name, presetNames)
  return `no preset ${shown(name)}${near === undefined ? `: there are ${presetNames.join(', ')}` : `, did you mean ${near}?`}`
}

export function denyPathProblem(entry: string): ValueProblem {
  if (isPathListName(entry)) return undefined
  const problem = globProblem(entry)
  if (problem !== undefined) return `${problem}, got ${shown(entry)}`
  return entry.startsWith('/') ? `must not start with a slash, got ${shown(entry)}` : undefined
}

export function branchNameProblem(branch: string): ValueProblem {
  const problem = branchProblem(branch)
  return problem === undefined ? undefined : `${problem}, got ${shown(branch)}`
}

/** `v1.2` or `prefix/*`. */
export function tagProblem(tag: string): ValueProblem {
  const problem = refNameProblem(`refs/tags/${tag.endsWith('/*') ? `${tag.slice(0, -1)}x` : tag}`)
  return problem === undefined ? undefined : `expected a tag or prefix/*: it ${problem}, got ${shown(tag)}`
}

/** A path inside the repository, as git writes it. */
export function repositoryPathProblem(path: string): ValueProblem {
  const parts = path.replace(/^\.\//, '').split('/')
  const inside =
    !path.startsWith('/') &&
    !path.startsWith('~') &&
    !/[\\\u0000-\u001f]/.test(path) &&
    parts.every((part) => part !== '' && part !== '.' && part !== '..')
  if (!inside) return `expected a path inside the repository, got ${shown(path)}`
  return parts.some((part) => part.toLowerCase() === '.git')
    ? `must not lie in .git, got ${shown(path)}`
    : undefined
}

/** A file of the operator: absolute or below the home directory. */
export function ownPathProblem(path: string): ValueProblem {
  return /^(?:\/|~\/)/.test(path) && !path.includes('\0')
    ? undefined
    : `expected an absolute path or one that starts with ~/, got ${shown(path)}`
}

export function openableAddressProblem(address: string): ValueProblem {
  if (mayBeOpened(address)) return undefined
  const kind = classify(address)
  return kind === undefined
    ? `expected an IP address, got ${shown(address)}`
    : `${kind} addresses can never be opened, got ${shown(address)}`
}

export function resolverProblem(resolver: string): ValueProblem {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+)|([0-9a-fA-F:.]+))(?::([1-9]\d{0,4}))?$/.exec(resolver)
  const address = match?.[1] ?? match?.[2] ?? match?.[3]
  if (address === undefined || Number(match?.[4] ?? 53) > 65535)
    return `expected address or address:port, got ${shown(resolver)}`
  return openableAddressProblem(address)
}

export function openingProblem(cidr: string): ValueProblem {
  try {
    parseOpening(cidr)
    return undefined
  } catch (error) {
    return messageOf(error).replace(/^allowAddresses: /, '')
  }
}

/** Headers that the sidecar itself writes or that decide how a request is read. */
const reservedHeaders = new Set([
  'connection',
  'content-length',
  'content-encoding',
  'expect',
  'host',
  'keep-alive',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'x-cage-handle',
])

export function headerProblem(header: string): ValueProblem {
  return reservedHeaders.has(header.toLowerCase())
    ? `this header cannot carry a credential, got ${shown(header)}`
    : undefined
}

export function templateProblem(template: string): ValueProblem {
  if (template.split('{}').length !== 2) return `must contain {} exactly once, got ${shown(template)}`
  return /[^\u0020-\u007e]/.test(template) ? `must be plain ASCII, got ${shown(template)}` : undefined
}

/** What a task's environment may not set: names that belong to cage. */
export function variableProblem(name: string): ValueProblem {
  return /^(?:CAGE_|KUBERNETES_)/i.test(name) || ['HOME', 'GH_TOKEN'].includes(name)
    ? `${name} belongs to cage`
    : undefined
}
