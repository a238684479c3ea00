import {realpath} from 'node:fs/promises'
import type {CredentialPorts} from '../policy/credentials.js'
import {readIfThere} from '../provision/state/files.js'
import type {ProjectContext} from './project-context.js'

/** Where the values of a project's credentials are looked for on this computer. */
export function credentialPorts({runner, env, homes, repository}: ProjectContext): CredentialPorts {
  return {
    env,
    runner,
    platform: process.platform,
    readFile: readIfThere,
    realpath: (path) => realpath(path),
    repository: repository.directory,
    home: homes.user,
  }
}
