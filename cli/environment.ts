import {homedir} from 'node:os'
import {isAbsolute, join} from 'node:path'

/** Where this person's files are, after the XDG Base Directory specification; relative values are ignored as it demands. */
export interface Homes {
  state: string
  cache: string
  config: string
  user: string
}

export function homes(env: Readonly<Record<string, string | undefined>> = process.env): Homes {
  const user = env['HOME'] ?? homedir()
  const pick = (name: string, fallback: string) => {
    const value = env[name]
    return value !== undefined && isAbsolute(value) ? value : join(user, fallback)
  }
  return {
    state: pick('XDG_STATE_HOME', '.local/state'),
    cache: pick('XDG_CACHE_HOME', '.cache'),
    config: pick('XDG_CONFIG_HOME', '.config'),
    user,
  }
}
