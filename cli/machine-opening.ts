import type {Reach} from '../provision/machine/guest-reach.js'
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

const where = {
  loopback: 'what listens on this computer’s loopback',
  network: 'what listens there on this computer',
}

/** `reach` is what was tried from inside the machine; undefined where that was not possible, or where there is no inside. */
export function machineOpenings(driver: MachineRecord['driver'], reach?: readonly Reach[]): Opening[] {
  if (!reach) return [{...beyond[driver], port: 0}]
  return reach.map(({address, where: at}) => ({
    address,
    port: 0,
    why: `root of the virtual machine reaches ${where[at]}, tried just now; pods do not`,
  }))
}
