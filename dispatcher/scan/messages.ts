import type {Fingerprint} from '../../scan/exact.js'

/** What the main thread and a scan worker say to each other. */

export interface ScanWorkerData {
  role: 'scan'
  /** keys the fingerprints of found values, so that the journal shows repeats and no value */
  fingerprintKey: Uint8Array
  /** of the values that cage gave to sidecars and upstreams */
  issued: readonly Fingerprint[]
}

/** Texts lie one after the other in `bytes`; `ends[i]` is where text i ends. */
export interface ScanJob {
  id: number
  bytes: Uint8Array
  ends: number[]
}

export interface Finding {
  rule: string
  /** `generic`: looks like a secret by the name it is given, and may well be none */
  kind: 'exact' | 'format' | 'generic'
  /** from 1 */
  line: number
  length: number
  /** 16 hex digits of HMAC-SHA256 of the whole value, keyed: for records */
  fingerprint: string
  /** hex SHA-256 of the whole value, to be compared with what a person allowed; never recorded */
  sha256: string
}

export interface ScanReply {
  id: number
  /** one list per text; undefined = the scanner could not finish within its budget, or found more than it lists */
  findings: (Finding[] | undefined)[]
  /** the memory of the job, given back */
  bytes: Uint8Array
}
