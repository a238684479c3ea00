import {readdirSync, readFileSync} from 'node:fs'
import {describe, expect, it} from '@jest/globals'
import {flush, FramingError, packet, PacketReader} from '../../../dispatcher/wire/pkt-line.js'
import {
  readReceiveRequest,
  receiveCapabilities,
  type ObjectFormat,
  type ReceiveRequest,
} from '../../../dispatcher/wire/receive-request.js'
import {fuzz} from '../../support/mutations.js'

const A = 'a'.repeat(40)
const B = 'b'.repeat(40)
const ZERO = '0'.repeat(40)
const CORPUS = 'test/unit/dispatcher/corpus'

async function* once(bytes: Buffer): AsyncGenerator<Buffer, void, void> {
  yield await Promise.resolve(bytes)
}
const parse = (bytes: Buffer, format: ObjectFormat = 'sha1') =>
  readReceiveRequest(new PacketReader(once(bytes)), format)
const lines = (...texts: (string | Buffer)[]) => Buffer.concat([...texts.map((text) => packet(text)), flush])

describe('a push', () => {
  it('has commands and what the client can do', async () => {
    const request = await parse(
      lines(
        `${A} ${B} refs/heads/x\0 report-status-v2 side-band-64k quiet object-format=sha1 agent=git/2.39.5 session-id=1-2\n`,
        `${ZERO} ${A} refs/heads/y\n`,
      ),
    )
    expect(request.commands).toEqual([
      {old: A, new: B, ref: 'refs/heads/x'},
      {old: ZERO, new: A, ref: 'refs/heads/y'},
    ])
    expect([...request.capabilities].sort()).toEqual([
      'agent',
      'quiet',
      'report-status-v2',
      'session-id',
      'side-band-64k',
    ])
    expect(request.refusal).toBeUndefined()
  })

  it('may say where a shallow history ends', async () => {
    const {commands, refusal} = await parse(
      lines(`shallow ${A}`, `shallow ${B}\n`, `${A} ${B} refs/heads/x\0report-status`),
    )
    expect({commands: commands.length, refusal}).toEqual({commands: 1, refusal: undefined})
  })

  it('may be empty', async () => {
    expect(await parse(flush)).toEqual({commands: [], capabilities: new Set()})
  })

  it('has longer ids where the repository has', async () => {
    const [a, b] = ['a'.repeat(64), 'b'.repeat(64)]
    expect(
      (await parse(lines(`${a} ${b} refs/heads/x\0object-format=sha256`), 'sha256')).refusal,
    ).toBeUndefined()
    expect((await parse(lines(`${a} ${b} refs/heads/x\0`))).refusal).toBe('malformed command')
    expect(receiveCapabilities('sha256')).toContain('object-format=sha256')
  })

  it.each([
    ['shallow after a command', [`${A} ${B} refs/heads/x\0`, `shallow ${A}`]],
    ['capabilities twice', [`${A} ${B} refs/heads/x\0report-status`, `${A} ${B} refs/heads/y\0atomic`]],
    ['upper-case hex', [`${A.toUpperCase()} ${B} refs/heads/x\0`]],
    ['a certificate', [`push-cert\0report-status`, 'certificate version 0.1']],
    ['an option nobody offered', [`${A} ${B} refs/heads/x\0push-options`]],
    ['a value for a flag', [`${A} ${B} refs/heads/x\0atomic=1`]],
    ['a flag for a value', [`${A} ${B} refs/heads/x\0agent`]],
    ['one ref twice', [`${A} ${B} refs/heads/x\0`, `${A} ${B} refs/heads/x`]],
    ['nothing to nothing', [`${ZERO} ${ZERO} refs/heads/x\0`]],
    ['a ref that is too long', [`${A} ${B} refs/heads/${'x'.repeat(1100)}\0`]],
    [
      'too many commands',
      Array.from({length: 65}, (_, n) => `${A} ${B} refs/heads/x${n}${n === 0 ? '\0' : ''}`),
    ],
    [
      'bytes that are no UTF-8',
      [Buffer.concat([Buffer.from(`${A} ${B} refs/heads/`), Buffer.from([0xc3, 0x28])])],
    ],
  ])('with %s is refused whole', async (_, texts) => {
    expect((await parse(lines(...texts))).refusal).toEqual(expect.any(String))
  })

  it('keeps its capabilities although its first line is malformed, so that the client hears why', async () => {
    const {capabilities, refusal} = await parse(lines('nonsense\0report-status side-band-64k'))
    expect({names: [...capabilities], refusal}).toEqual({
      names: ['report-status', 'side-band-64k'],
      refusal: 'malformed command',
    })
  })
})

/** What must hold of every request, whatever the bytes. */
function check(request: ReceiveRequest): void {
  for (const {old, new: next, ref} of request.commands) {
    expect(old).toMatch(/^[0-9a-f]{40}$/)
    expect(next).toMatch(/^[0-9a-f]{40}$/)
    expect(ref).not.toMatch(/[\0\n]/)
    expect(Buffer.byteLength(ref)).toBeLessThanOrEqual(1024)
    expect(old === ZERO && next === ZERO).toBe(false)
  }
  expect(new Set(request.commands.map(({ref}) => ref)).size).toBe(request.commands.length)
  expect(request.commands.length).toBeLessThanOrEqual(64)
  const known = [
    'report-status',
    'report-status-v2',
    'delete-refs',
    'side-band-64k',
    'quiet',
    'atomic',
    'ofs-delta',
    'agent',
    'session-id',
  ]
  expect(known).toEqual(expect.arrayContaining([...request.capabilities]))
  if (request.refusal !== undefined) expect(request.refusal).toMatch(/^[\x20-\x7e]{5,99}$/)
}

async function survives(bytes: Buffer): Promise<void> {
  try {
    check(await parse(bytes))
  } catch (error) {
    if (!(error instanceof FramingError)) throw error
  }
}

describe('any bytes', () => {
  it('of the corpus are parsed or refused', async () => {
    const names = readdirSync(CORPUS)
    expect(names.length).toBeGreaterThan(10)
    for (const name of names) await survives(readFileSync(`${CORPUS}/${name}`))
  })

  it('that mutations of the corpus make are parsed or refused', async () => {
    await fuzz(
      {corpus: CORPUS, rounds: 5000, seed: 20260101, words: ['0000', '0001', '\0', ' ', '\n']},
      survives,
    )
  })
})
