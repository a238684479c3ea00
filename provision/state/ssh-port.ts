import {createServer} from 'node:net'
import {CageError, ExitCode} from '../../core/errors.js'
import {projectFiles} from './layout.js'
import {readMachineRecord} from './machine-record.js'
import {projectsIn} from './projects.js'

const FIRST = 50_000
const COUNT = 10_000

/**
 * A port of this computer's loopback for a guest's SSH: derived from the project's id, the next one where another project
 * has it or something listens. Errors: NO_FREE_PORT (exit 3).
 */
export async function freeSshPort(stateHome: string, id: string): Promise<number> {
  const taken = new Set<number>()
  for (const other of await projectsIn(stateHome)) {
    const record = await readMachineRecord(projectFiles(stateHome, other).record).catch(() => undefined)
    if (record?.sshPort !== undefined && other !== id) taken.add(record.sshPort)
  }
  const wanted = Number.parseInt(id.slice(-8), 16) % COUNT
  for (let i = 0; i < COUNT; i++) {
    const port = FIRST + ((wanted + i) % COUNT)
    if (!taken.has(port) && (await isFree(port))) return port
  }
  throw new CageError(`no free port from ${FIRST} to ${FIRST + COUNT - 1}`, {
    code: 'NO_FREE_PORT',
    exitCode: ExitCode.precondition,
    hints: ['Run `cage list` and destroy a project that you do not need any more.'],
  })
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer()
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen({port, host: '127.0.0.1'}, resolve)
    })
    return true
  } catch {
    return false
  } finally {
    server.close()
  }
}
