import {CageError} from '../core/errors.js'
import type {MachineState} from '../provision/machine/machine.js'
import type {ProjectMachine} from '../provision/provisioning.js'

/** What a machine is; `unreachable` when it cannot be asked, e.g. a server without network. */
export async function stateOf({machine}: ProjectMachine): Promise<MachineState | 'unreachable'> {
  try {
    return await machine.state()
  } catch (cause) {
    if (cause instanceof CageError) return 'unreachable'
    throw cause
  }
}
