import {readdir} from 'node:fs/promises'
import {join} from 'node:path'

/** Names of the state directories of this computer: the projects' ids. */
export async function projectsIn(stateHome: string): Promise<string[]> {
  const entries = await readdir(join(stateHome, 'cage'), {withFileTypes: true}).catch(() => [])
  return entries
    .filter((entry) => entry.isDirectory() && /-[0-9a-f]{8}$/.test(entry.name))
    .map(({name}) => name)
    .sort()
}
