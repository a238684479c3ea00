/** A request that may not go to GitHub; the message is one sentence for people and agents, without `cage: `. */
export class ApiDenied extends Error {
  override name = 'ApiDenied'
  readonly ruleId: string
  /** of a REST answer */
  readonly status: number

  constructor(ruleId: string, message: string, status = 403) {
    super(message)
    this.ruleId = ruleId
    this.status = status
  }
}
