export interface RawRequest {
  host: string
  port: number
  /** written first, e.g. a CONNECT; the answer must be 200 to go on */
  through?: string
  /** an empty server name sends none */
  tls?: {servername: string; alpn?: string[]}
  /** latin1, one write each */
  send: string[]
  /** how long silence may last; default 1500 */
  idleMs?: number
}

export interface RawAnswer {
  /** latin1, all that came */
  text: string
  closed: boolean
  tunnel?: string
  alpn?: string
  error?: string
}
