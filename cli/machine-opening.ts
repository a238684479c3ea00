import type {MachineRecord} from '../provision/state/machine-record.js'
import type {Opening} from './openings.js'

/** What somebody reaches who broke out of a pod and became root of the machine; pods reach none of it. */
const beyond: Readonly<Record<MachineRecord['driver'], Omit<Opening, 'port'>>> = {
  local: {
    address: 'this computer',
    why: 'machine `local` shares the kernel of this computer: an escape from a pod reaches it',
  },
  lima: {
    address: '192.168.5.2',
    why: 'root of the virtual machine reaches what listens on this computer’s loopback; pods do not',
  },
  vagrant: {
    address: 'this computer on the provider’s network',
    why: 'root of the virtual machine reaches what listens there (libvirt 192.168.121.1, VirtualBox and QEMU 10.0.2.2); pods do not',
  },
  ssh: {
    address: 'the network of the server',
    why: 'root of the server reaches it; pods do not',
  },
}

export function machineOpening(driver: MachineRecord['driver']): Opening {
  return {...beyond[driver], port: 0}
}
