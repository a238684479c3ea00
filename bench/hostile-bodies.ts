import type {ScanRule} from '../scan/rule.js'

/** Bodies that are meant to cost a scanner of this kind the most. */
export function hostileBodies(table: readonly ScanRule[], size: number): [name: string, body: Buffer][] {
  const fill = (text: string) =>
    Buffer.from(text.repeat(Math.ceil(size / text.length)).slice(0, size), 'latin1')
  const base64 = (text: string) => Buffer.from(text).toString('base64')
  const keywords = table.flatMap((rule) => rule.keywords)
  return [
    ['every keyword', fill(keywords.join(''))],
    ['every keyword, spaced', fill(keywords.join(' '))],
    ['every keyword and a run', fill(keywords.map((keyword) => keyword + 'a1'.repeat(100)).join(' '))],
    ['key', fill('key')],
    ['password=', fill('password=')],
    ['token = …', fill(`token = ${'a1'.repeat(80)}`)],
    ['eyJ', fill('eyJ')],
    ['eyJ and dots', fill(`${'eyJ'.repeat(300)}.`)],
    ['sk-', fill('sk-')],
    ['sk_live_', fill('sk_live_')],
    ['AKIA', fill('AKIAAAAAAAAAAAAAAAAA')],
    ['private keys', fill('-----BEGIN PRIVATE KEY-----\n\n\n\n')],
    ['addresses', fill(`http://${'a'.repeat(60)}:${'b'.repeat(120)}`)],
    ['base64', fill(base64('secret-'.repeat(900)))],
    ['base64 of base64', fill(base64(base64('ghp_'.repeat(900))))],
    ['hex', fill('6768705f')],
    ['hex of hex', fill(Buffer.from('6768705f'.repeat(90)).toString('hex'))],
    ['percent', fill('%67%68%70%5f')],
    ['percent of percent', fill('%25%36%37')],
    ['JSON escapes', fill('\\u0067\\u0068')],
    ['UTF-16', fill('g\0h\0p\0_\0')],
    ['zeros', Buffer.alloc(size)],
  ]
}
