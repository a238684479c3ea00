/** One thing that reached a canary. */
export interface Heard {
  protocol: 'tcp' | 'udp'
  port: number
  /** the first bytes, as latin1; empty = a connection that ended without a word */
  text: string
}

/**
 * Something outside of all pods that listens where a pod would arrive if nothing held it back.
 * - MUST listen on all of `ports`, TCP and UDP, on `address` before it is handed over.
 * - `knock` MUST send `text` from the machine, where no firewall for pods stands in the way: the positive control.
 */
export interface Canary {
  where: 'machine' | 'computer'
  address: string
  ports: readonly number[]
  heard(): readonly Heard[]
  knock(protocol: 'tcp' | 'udp', port: number, text: string): Promise<void>
  close(): Promise<void>
}
