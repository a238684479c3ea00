import {randomBytes} from 'node:crypto'

const DIGITS = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'

/** 26 characters that sort by time: how one request is named in messages and in the journal. */
export function ulid(milliseconds: number): string {
  let time = ''
  for (let rest = milliseconds; time.length < 10; rest = Math.floor(rest / 32))
    time = (DIGITS[rest % 32] ?? '0') + time
  return time + Array.from(randomBytes(16), (byte) => DIGITS[byte % 32] ?? '0').join('')
}
