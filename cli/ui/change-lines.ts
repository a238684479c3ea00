import {visible} from '../../core/quote.js'
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
    ...files.map(({path, added, removed}) => {
      const lines = added === null || removed === null ? 'binary' : `+${added} -${removed}`
      return `  ${visible(path).padEnd(width)}  ${lines}`
    }),
  ].join('\n')
}

function counted(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? '' : 's'}`
}
