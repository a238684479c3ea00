import {deniedMutations} from './denied-mutations.js'
import {deniedWrites} from './denied-writes.js'
import {parseTemplate, matchTemplate, type Template} from './template.js'

/** What a write would touch, and why a task may not. */
export const writeClasses = {
  merge: 'merging is left to a person',
  refs: 'branches and tags move by git push only',
  contents: 'files change by git push only',
  workflows: 'workflows, checks, deployments and the runs of others are left to people',
  settings: 'the settings of repositories and apps are left to people',
  secrets: 'secrets, variables, keys and tokens are left to people',
  releases: 'releases, packages and pages are left to people',
  gists: 'nothing is published outside the repository',
  people: 'people, teams, organizations and subscriptions are left to people',
  issues:
    'a task opens, changes and comments its own pull request, and comments issues; the rest is left to people',
} as const

export type WriteClass = keyof typeof writeClasses

const classOfMutation = new Map(
  Object.entries(deniedMutations).flatMap(([name, list]) =>
    words(list).map((mutation) => [mutation, name as WriteClass] as const),
  ),
)

const templates = Object.entries(deniedWrites).flatMap(([name, list]) =>
  list
    .trim()
    .split('\n')
    .map((line): {method: string; template: Template; name: WriteClass} => {
      const [method = '', path = ''] = line.split(' ')
      return {method, template: parseTemplate(path), name: name as WriteClass}
    }),
)

/** Why a mutation that is not in the table of allowed ones is refused. */
export function whyNotMutation(name: string): string {
  const found = classOfMutation.get(name)
  return found === undefined ? 'it is not among what a task may do on GitHub' : writeClasses[found]
}

/** The same for a REST write; `segments` are the decoded parts of its path. */
export function whyNotWrite(method: string, segments: readonly string[]): string {
  const found = templates.find(
    (entry) => entry.method === method && matchTemplate(entry.template, segments) !== undefined,
  )
  return found === undefined ? 'it is not among what a task may do on GitHub' : writeClasses[found.name]
}

export function words(list: string): string[] {
  return list.trim().split(/\s+/).filter(Boolean)
}
