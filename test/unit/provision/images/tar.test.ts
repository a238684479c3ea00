import {afterEach, beforeEach, describe, expect, it} from '@jest/globals'
import {execFileSync} from 'node:child_process'
import {mkdtempSync, rmSync, writeFileSync} from 'node:fs'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {tar, type TarEntry} from '../../../../provision/images/tar.js'

let folder: string
beforeEach(() => void (folder = mkdtempSync(join(tmpdir(), 'cage-tar-'))))
afterEach(() => rmSync(folder, {recursive: true}))

async function bytesOf(entries: TarEntry[]): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of tar(entries, 1735689600)) chunks.push(chunk)
  return Buffer.concat(chunks)
}

const file = (path: string, text: string, mode = 0o644): TarEntry => {
  return {kind: 'file', path, mode, content: Buffer.from(text)}
}

describe('tar', () => {
  it('gives the same bytes whatever the order of the entries', async () => {
    const entries = [
      file('b', 'two'),
      file('a/c', 'one'),
      {kind: 'directory', path: 'a', mode: 0o755} as const,
    ]
    expect(await bytesOf(entries)).toEqual(await bytesOf([...entries].reverse()))
  })

  it('is read by GNU tar with modes, owners, links and times', async () => {
    writeFileSync(join(folder, 'source'), 'x'.repeat(100_000))
    const archive = await bytesOf([
      file('usr/lib/run', '#!/bin/sh\n', 0o755),
      {kind: 'copy', path: 'big', mode: 0o644, from: join(folder, 'source'), size: 100_000, owner: 1000},
      {kind: 'link', path: 'bin/run', target: '../usr/lib/run'},
      {kind: 'directory', path: 'mnt', mode: 0o755},
    ])
    const listed = execFileSync('tar', ['-tvf', '-', '--numeric-owner', '--utc'], {input: archive}).toString()
    expect(
      listed
        .trim()
        .split('\n')
        .map((line) => line.replace(/\s+/g, ' ')),
    ).toEqual([
      '-rw-r--r-- 1000/1000 100000 2025-01-01 00:00 big',
      'lrwxrwxrwx 0/0 0 2025-01-01 00:00 bin/run -> ../usr/lib/run',
      'drwxr-xr-x 0/0 0 2025-01-01 00:00 mnt/',
      '-rwxr-xr-x 0/0 10 2025-01-01 00:00 usr/lib/run',
    ])
    expect(execFileSync('tar', ['-xOf', '-', 'big'], {input: archive}).toString()).toBe('x'.repeat(100_000))
  })

  it('splits long paths and refuses those that do not fit', async () => {
    const long = `${'d'.repeat(90)}/${'e'.repeat(60)}/${'f'.repeat(95)}`
    const listed = execFileSync('tar', ['-tf', '-'], {input: await bytesOf([file(long, 'x')])}).toString()
    expect(listed.trim()).toBe(long)
    await expect(bytesOf([file('g'.repeat(101), 'x')])).rejects.toMatchObject({code: 'IMAGE_PATH_TOO_LONG'})
    const link: TarEntry = {kind: 'link', path: 'l', target: 'h'.repeat(101)}
    await expect(bytesOf([link])).rejects.toMatchObject({code: 'IMAGE_PATH_TOO_LONG'})
  })

  it.each([
    ['grew', 3],
    ['shrank', 9],
  ])('stops when a file %s after it was measured', async (_, size) => {
    writeFileSync(join(folder, 'source'), 'sixsix')
    const entry: TarEntry = {kind: 'copy', path: 'f', mode: 0o644, from: join(folder, 'source'), size}
    await expect(bytesOf([entry])).rejects.toMatchObject({code: 'IMAGE_INPUT_CHANGED'})
  })
})
