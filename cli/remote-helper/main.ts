import {systemClock} from '../../core/clock.js'
import {CageError, ExitCode, messageOf} from '../../core/errors.js'
import {processRunner} from '../../core/process.js'
import type {Cluster} from '../../kube/cluster.js'
import type {ProjectMachine} from '../../provision/provisioning.js'
import {DispatcherControl} from '../../tasks/dispatcher.js'
import {dispatcherFarEnd} from '../../tasks/git/far-end.js'
import {homes} from '../environment.js'
import {ownPlaces} from '../places.js'
import {remoteProject} from './project.js'
import {serveRemoteHelper} from './protocol.js'

/** `git-remote-cage REMOTE URL`, as git starts it. @returns the exit code */
export async function remoteHelper(argv: readonly string[]): Promise<number> {
  const url = argv[1] ?? argv[0]
  if (url === undefined) {
    process.stderr.write('git starts this program for remotes whose URL begins with cage::\n')
    return ExitCode.usage
  }
  let cluster: Cluster | undefined
  let far: ProjectMachine | undefined
  const connect = async () => {
    const {id, repository, files} = await remoteProject(url, {
      stateHome: homes().state,
      runner: processRunner,
    })
    const {machineCluster} = await import('../machine-cluster.js')
    cluster = await machineCluster(files, async () => (far = await farMachine(id)))
    const control = new DispatcherControl({cluster, id, clock: systemClock})
    return dispatcherFarEnd(cluster, id, repository, () => control.pod())
  }
  try {
    const local = {runner: processRunner, directory: process.cwd(), env: definedOnly(process.env)}
    const streams = {input: process.stdin, output: process.stdout, messages: process.stderr}
    await serveRemoteHelper(streams, local, connect)
    return ExitCode.done
  } catch (error) {
    const shown = error instanceof CageError ? error : new CageError(messageOf(error), {code: 'UNEXPECTED'})
    const {renderError} = await import('../base-command.js')
    // Always escaped: what git shows of it, it shows on the person's terminal.
    for (const line of renderError(shown, true)) process.stderr.write(`${line}\n`)
    return shown.exitCode
  } finally {
    await cluster?.close()
    await far?.machine.close()
  }
}

async function farMachine(id: string): Promise<ProjectMachine> {
  const {findMachine} = await import('../../provision/provisioning.js')
  const found = await findMachine(ownPlaces(), id)
  if (found) return found
  throw new CageError(`${id} has no machine on this computer`, {
    code: 'MACHINE_MISSING',
    exitCode: ExitCode.precondition,
    hints: ['Run `cage up` in the repository.'],
  })
}

function definedOnly(env: Readonly<Record<string, string | undefined>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(env).filter((pair): pair is [string, string] => pair[1] !== undefined),
  )
}
