/** One word for a POSIX shell, quoted only when it has to be. */
export function shellQuote(word: string): string {
  return /^[A-Za-z0-9_@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`
}

/** A command as text that a person can paste into a shell. */
export function shellCommand(argv: readonly string[]): string {
  return argv.map(shellQuote).join(' ')
}

/** Control, bidirectional and other invisible characters made visible, so that hostile text cannot drive a terminal. */
export function visible(text: string, keep = ''): string {
  return text.replace(
    /[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g,
    (c) => (keep.includes(c) ? c : `\\u{${(c.codePointAt(0) ?? 0).toString(16)}}`),
  )
}
