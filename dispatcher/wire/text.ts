/** Printable ASCII only, so that nothing pushed or named by an agent can drive a terminal or break a line. */
export function plain(text: string, limit = 200): string {
  const safe = text.replace(/[^\x20-\x7e]/gu, (c) => `\\u{${(c.codePointAt(0) ?? 0).toString(16)}}`)
  return safe.length > limit ? `${safe.slice(0, limit - 3)}...` : safe
}

/** A path or ref as it stands in a message: quoted, so that where it ends is visible. */
export function quoted(text: string): string {
  return `"${plain(text.replaceAll('"', '\\"'), 120)}"`
}
