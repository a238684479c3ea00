import {gateSocket, gitSocket, operatorSocket} from '../socket-api.js'
import {serveOperator} from './operator.js'
import {serveGate} from './server.js'
import {openGitService, type GitServiceOptions} from './service.js'

/** Repairs the volume, then serves the person's git and `gate`. @param options.run directory shared with `gate` */
export async function runGit(options: Omit<GitServiceOptions, 'gateSocket'> & {run: string}): Promise<void> {
  const {volume, run, clock, log} = options
  const service = await openGitService({...options, gateSocket: gateSocket(run)})
  await serveOperator(service, operatorSocket(volume), clock, log)
  await serveGate(service, gitSocket(run), log)
  log('serving repositories')
}
