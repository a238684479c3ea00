import {gitHost} from '../../core/layout.js'
import {tcpIsClosed} from './closed.js'
import {dispatcherAnswers} from './dispatcher.js'
import {kernelDoors, kernelRefuses} from './kernel.js'
import {foreignResolverIsOurs, udpIsRefused} from './packets.js'

export interface Check {
  name: string
  /** resolves with a note when all is as it must be, rejects with what is wrong */
  run: () => Promise<string>
}

/** Documentation addresses: they lead nowhere, but a packet to them would have to leave. */
const FOREIGN = '192.0.2.1'
const FOREIGN6 = '2001:db8::1'
const FOREIGN_RESOLVER = '192.0.2.53'

/** @param closed `ADDRESS:PORT` of what is known to answer, and must not answer this uid directly */
export function checks(closed: readonly string[], caPath: string, readyWithinMs: number): Check[] {
  return [
    {
      name: `https://${gitHost}/ready answers through the sidecar`,
      run: () => dispatcherAnswers(caPath, readyWithinMs),
    },
    ...closed.map((target) => ({
      name: `tcp ${target} does not answer directly`,
      run: () => tcpIsClosed(target, caPath),
    })),
    {name: 'udp does not leave', run: () => udpIsRefused('udp4', FOREIGN, 9999)},
    {name: 'quic does not leave', run: () => udpIsRefused('udp4', FOREIGN, 443)},
    {name: 'ipv6 does not leave', run: () => udpIsRefused('udp6', FOREIGN6, 9999)},
    {name: 'dns has no resolver but the sidecar', run: () => foreignResolverIsOurs(FOREIGN_RESOLVER)},
    ...kernelDoors(FOREIGN).map((door) => ({name: door.name, run: () => kernelRefuses(door)})),
  ]
}
