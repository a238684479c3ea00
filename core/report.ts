/** What long work tells the person while it runs; the edge decides how it looks. */
export interface Reporter {
  /** a named step begins; `detail` updates the same line */
  begin(name: string): void
  detail(text: string): void
  /** the running step ended well; `note` says what changed */
  done(note?: string): void
  /** the running step failed; the error itself is thrown as well */
  fail(note?: string): void
  /** one line between steps */
  info(text: string): void
}

export const silentReporter: Reporter = {
  begin: () => undefined,
  detail: () => undefined,
  done: () => undefined,
  fail: () => undefined,
  info: () => undefined,
}
