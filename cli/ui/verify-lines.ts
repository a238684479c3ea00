import type {VerifyReport} from '../../tasks/verify/verify.js'
import {table} from './table.js'

/** The report for people: every case, what is enforced here, and the sum; what leaked comes last, to be seen. */
export function verifyLines({cases, layers, passed, failed}: VerifyReport): string[] {
  const row = ({id, where, attack, got, ok}: VerifyReport['cases'][number]) => [
    ok ? 'ok' : 'FAILED',
    id,
    where,
    attack,
    got,
  ]
  const heads = ['', 'case', 'from', 'attack', 'got']
  const leaks = cases.filter(({ok}) => !ok)
  return [
    table(heads, cases.map(row)),
    '',
    table(
      ['layer', 'state', 'how'],
      layers.map(({name, state, how}) => [name, state, how]),
    ),
    '',
    ...(leaks.length > 0 ? [table(heads, leaks.map(row)), ''] : []),
    `${passed} held, ${failed} failed`,
  ]
}
