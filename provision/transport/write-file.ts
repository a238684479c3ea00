import {dirname} from 'node:path'

/** The command that puts its standard input into a file at once or not at all, and makes the directories above it. */
export function writeFileArgv(path: string, mode: string): readonly [string, ...string[]] {
  const script = 'install -d "$1" && t=$(mktemp "$2.XXXXXX") && cat >"$t" && chmod "$3" "$t" && mv "$t" "$2"'
  return ['sh', '-c', script, 'sh', dirname(path), path, mode]
}
