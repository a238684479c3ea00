/** Secret formats as data. Written from what vendors publish about their tokens: prefix, alphabet, length, checksum. */

/** Characters of a run whose failed match need not be tried again before the run ends. */
export type RunClass = 'base64url' | 'base64'

export interface ScanRule {
  /** stable, lower case with dashes; shown in findings */
  id: string
  /** `generic` rules know a shape of text rather than a token format: more false positives */
  kind: 'format' | 'generic'
  /** literals of 3 and more characters; the pattern is tried exactly where one begins */
  keywords: readonly string[]
  /**
   * source of a regular expression that starts with the keyword, `<keyword>` = any of them; text before it only as
   * a bounded look-behind
   */
  pattern: string
  /** regular expression and keywords without regard to case */
  ignoreCase?: boolean
  /** a cheap pattern that has to match before `pattern` is tried */
  head?: string
  /** set when the pattern has no upper bound: it must then be a run of these characters */
  run?: RunClass
  /** upper bound of the match in characters; default 256 */
  max?: number
  /** least Shannon entropy in bits per character of group 1, or of what follows the keyword; default 1.5 */
  entropy?: number
  /** texts, lower case, that mark group 1 as an example or as code */
  stopWords?: readonly string[]
  /** at least one digit in group 1 for every sixteen characters */
  digits?: boolean
  /** letters and digits, but no identifier, UUID or path */
  mixed?: boolean
  /** how a genuine token proves itself; it then counts whatever its entropy */
  checksum?: 'crc32-base62'
  /**
   * Templates for generated examples, so that no token stands in the source: `<class:length>` with the classes
   * of test/support/secret-sample.ts.
   */
  examples: readonly string[]
}
