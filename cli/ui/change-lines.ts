import {visible} from '../../core/quote.js'
import {reviewFlags} from '../../policy/review.js'
import type {BranchChange} from '../../tasks/git/compare.js'

/** Commits and files of a branch for people; every text of the agent is escaped. */
export function changeSummary({branch, commits, files}: BranchChange): string {
  const head = `${counted(commits.length, 'commit')} on ${visible(branch)}, ${counted(files.length, 'file')} changed`
  const width = Math.max(0, ...files.map(({path}) => visible(path).length))
  return [
    head,
    ...commits.map(
      ({id, subject, author}) => `  ${id.slice(0, 10)} ${visible(subject)} (${visible(author)})`,
    ),
    ...files.map(({path, added, removed, size}) => {
      const lines = added === null || removed === null ? 'binary' : `+${added} -${removed}`
      return `  ${visible(path).padEnd(width)}  ${lines}${size === null ? '' : `, ${bytes(size)}`}`
    }),
    ...lookAt(files, width),
  ].join('\n')
}

/** What must not be missed in a long list, once more and with the reason. */
function lookAt(files: BranchChange['files'], width: number): string[] {
  const flagged = files.filter(({flags}) => flags.length > 0)
  if (flagged.length === 0) return []
  return [
    `look at ${flagged.length === 1 ? 'this one' : `these ${flagged.length}`} before you build, test or open it:`,
    ...flagged.map(({path, flags}) => {
      const why = flags.map((flag) => reviewFlags[flag]).join('; ')
      return `  ${visible(path).padEnd(width)}  [${flags.join(' ')}] ${why}`
    }),
  ]
}

function bytes(size: number): string {
  if (size < 10_000) return `${size} bytes`
  return size < 10_000_000 ? `${Math.round(size / 1000)} kB` : `${Math.round(size / 1_000_000)} MB`
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`
}
