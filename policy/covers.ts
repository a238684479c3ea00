import type {EgressRule} from './grant.js'

/** Whether everything that `narrow` lets through `wide` lets through as well. May say no where it is so; never yes where it is not. */
export function ruleCovers(wide: EgressRule, narrow: EgressRule): boolean {
  return (
    wide.port === narrow.port &&
    wide.scheme === narrow.scheme &&
    hostCovers(wide.host, narrow.host) &&
    subset(narrow.methods, wide.methods) &&
    subset(narrow.paths, wide.paths) &&
    (wide.websocket === true || narrow.websocket !== true) &&
    mcpCovers(wide.mcp, narrow.mcp) &&
    wide.urlBytes === undefined &&
    wide.hosts === undefined &&
    wide.rate === undefined
  )
}

function hostCovers(wide: string, narrow: string): boolean {
  if (wide === narrow) return true
  if (!wide.startsWith('*.')) return false
  return narrow.replace(/^\*\./, 'x.').endsWith(wide.slice(1)) && narrow !== wide.slice(2)
}

/** Absent = everything. */
function subset(part: readonly string[] | undefined, whole: readonly string[] | undefined): boolean {
  return whole === undefined || (part?.every((item) => whole.includes(item)) ?? false)
}

function mcpCovers(wide: EgressRule['mcp'], narrow: EgressRule['mcp']): boolean {
  if (wide === undefined) return true
  return narrow !== undefined && JSON.stringify(wide) === JSON.stringify(narrow)
}
