import {pathLists} from './path-lists.js'
import {foldPath, pathRule} from './path-rule.js'
import {reviewLists} from './review-lists.js'

/** Why a reviewer must look at a file itself. Names are fixed: `cage task diff --json` has them. */
export const reviewFlags = {
  agent: 'memory or settings of an agent',
  binary: 'binary, so the patch does not show it',
  build: 'a build runs it',
  ci: 'a CI system runs it',
  dependencies: 'what is installed, and from where',
  editor: 'editors or shells run or obey it',
  executable: 'became executable',
  git: 'rules of git itself',
  hooks: 'git runs it as a hook',
  owners: 'who has to review',
  scripts: 'scripts that package tools run',
  submodule: 'another repository',
  symlink: 'symbolic link',
} as const
export type ReviewFlag = keyof typeof reviewFlags

/** One file of a change; modes as git writes them, 000000 = not there. */
export interface ReviewedChange {
  path: string
  oldMode: string
  mode: string
  binary: boolean
}

const rulesByFlag = (
  [
    ...Object.entries(reviewLists),
    ['ci', pathLists.ci],
    ['git', ['.gitmodules', '**/.gitattributes', '**/.gitconfig', '.lfsconfig']],
  ] as [ReviewFlag, readonly string[]][]
).map(([flag, patterns]) => ({flag, rules: patterns.map((pattern) => pathRule(pattern, flag))}))

/** What a file is, whatever it says, sorted. A changed list of scripts is judged by content: see `scriptsDiffer`. */
export function flagsOf({path, oldMode, mode, binary}: ReviewedChange): ReviewFlag[] {
  const folded = foldPath(path)
  const isLink = mode === '120000' || mode === '160000'
  const flags = rulesByFlag
    .filter(({rules}) => rules.some((rule) => rule.at(folded) || (isLink && rule.above(folded))))
    .map(({flag}) => flag)
  if (mode === '120000') flags.push('symlink')
  if (mode === '160000' || oldMode === '160000') flags.push('submodule')
  if (mode === '100755' && oldMode !== '100755') flags.push('executable')
  if (binary) flags.push('binary')
  return flags.sort()
}

/** Whether two versions of a package's description run other things; what is no JSON object counts as another. */
export function scriptsDiffer(before: string, after: string): boolean {
  const [old, now] = [runs(before), runs(after)]
  return old === undefined || now === undefined || old !== now
}

/** The parts that make a package tool run something; `{}` for a file that is not there. */
function runs(text: string): string | undefined {
  let value: unknown
  try {
    value = JSON.parse(text === '' ? '{}' : text)
  } catch {
    return undefined
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined
  const {scripts, bin, gypfile, husky, config} = value as Record<string, unknown>
  const hooks = (value as Record<string, unknown>)['simple-git-hooks']
  return JSON.stringify([scripts, bin, gypfile, husky, config, hooks])
}
