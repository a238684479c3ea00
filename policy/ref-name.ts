/** What `git check-ref-format` accepts (git-check-ref-format(1)), plus what no person would want to read in a terminal. */

const MAX_REF_BYTES = 1024
const MAX_COMPONENT_BYTES = 250
const hidden = /[\u0080-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufffd]/

/** Why a full ref name (`refs/heads/x`) is not acceptable, or undefined. */
export function refNameProblem(ref: string): string | undefined {
  if (!ref.startsWith('refs/') || ref.split('/').length < 3)
    return 'must start with refs/heads/ or refs/tags/'
  if (Buffer.byteLength(ref) > MAX_REF_BYTES) return 'is too long'
  if (/[\u0000-\u0020\u007f~^:?*[\\]/.test(ref))
    return 'contains a space, a control character or one of ~ ^ : ? * [ \\'
  if (ref.includes('..')) return 'contains ..'
  if (ref.includes('@{')) return 'contains @{'
  if (ref.endsWith('.')) return 'ends with a dot'
  if (hidden.test(ref)) return 'contains an invisible character'
  for (const part of ref.split('/')) {
    if (part === '') return 'starts or ends with a slash, or contains //'
    if (part.startsWith('.')) return 'has a part that starts with a dot'
    if (part.endsWith('.lock')) return 'has a part that ends with .lock'
    if (Buffer.byteLength(part) > MAX_COMPONENT_BYTES)
      return `has a part of more than ${MAX_COMPONENT_BYTES} bytes`
  }
  return undefined
}

/** Object ids of both hash functions; nothing else may reach a git command. */
export function isObjectId(text: string): boolean {
  return /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/.test(text)
}

export function isZeroId(text: string): boolean {
  return /^0+$/.test(text)
}

/** The form in which a case-folding, Unicode-normalising disk compares names. */
export function foldName(name: string): string {
  return name.normalize('NFKC').toLowerCase().normalize('NFKC')
}
