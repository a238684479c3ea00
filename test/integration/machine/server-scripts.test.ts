import {spawnSync} from 'node:child_process'
import {mkdtempSync, readFileSync, rmSync, statSync, writeFileSync, mkdirSync, existsSync} from 'node:fs'
import {tmpdir} from 'node:os'
import {join, resolve} from 'node:path'
import {afterAll, beforeEach, describe, expect} from '@jest/globals'
import {itUnless} from '../../support/when.js'

const obstacle = process.getuid?.() === 0 ? undefined : 'a directory of its own at /var/lib needs root'
const scratch = mkdtempSync(join(tmpdir(), 'cage-server-'))
const script = (name: string) => resolve('provision/guest/node', name)
afterAll(() => rmSync(scratch, {recursive: true, force: true}))

let world: string
beforeEach(() => {
  world = mkdtempSync(join(scratch, 'world-'))
  for (const part of ['lib', 'home']) mkdirSync(join(world, part))
})

/** Runs a script where /var/lib and the home directory are the test's own. */
function there(argv: string[], input?: string) {
  const enter = 'mount --bind "$1/lib" /var/lib && export HOME="$1/home" && shift && exec "$@"'
  const result = spawnSync('unshare', ['--mount', 'sh', '-c', enter, 'sh', world, ...argv], {
    encoding: 'utf8',
    input,
  })
  return {code: result.status, stdout: result.stdout, stderr: result.stderr}
}
const base = () => join(world, 'lib/cage')
const authorized = () => join(world, 'home/.ssh/authorized_keys')
const keyOf = (name: string) => `ssh-ed25519 AAAA${name} cage-${name}`
const claim = (id: string, owner = `me@laptop:/src/${id}`, key = keyOf(id), made: string[] = []) =>
  there([script('claim.sh'), id, owner, key, authorized(), ...made]).stdout.trim()
const contact = (key: string) => there(['sh', script('first-contact.sh'), 'MARK', key])

describe('a place on a server', () => {
  itUnless(obstacle, 'is found again, and never shared by two projects', () => {
    const [one, two] = [claim('one-00000001'), claim('two-00000002')]
    expect(one).toMatch(/^network 2\d\d$/)
    expect(two).toMatch(/^network 2\d\d$/)
    expect(two).not.toBe(one)
    expect(claim('one-00000001')).toBe(one)
    expect(statSync(base()).mode & 0o777).toBe(0o700)
  })

  itUnless(obstacle, 'is not given to another computer’s project of the same name', () => {
    const mine = claim('one-00000001')
    expect(claim('one-00000001', 'you@desktop:/src/one')).toBe('taken me@laptop:/src/one-00000001')
    expect(claim('one-00000001')).toBe(mine)
  })

  itUnless(
    obstacle,
    'is taken over by its own computer when that lost its state; the lost key opens nothing more',
    () => {
      mkdirSync(join(world, 'home/.ssh'))
      writeFileSync(authorized(), `ssh-rsa AAAAperson person\n`)
      contact(keyOf('old'))
      const network = claim('one-00000001', undefined, keyOf('old'))
      contact(keyOf('new'))
      expect(claim('one-00000001', undefined, keyOf('new'))).toBe(network)
      const keys = readFileSync(authorized(), 'utf8')
      expect(keys).toContain('AAAAperson')
      expect(keys).toContain('AAAAnew')
      expect(keys).not.toContain('AAAAold')
    },
  )
})

describe('the key on a server', () => {
  itUnless(obstacle, 'is let in once, restricted, beside what was there', () => {
    mkdirSync(join(world, 'home/.ssh'))
    writeFileSync(authorized(), 'ssh-rsa AAAAperson person')
    const first = contact(keyOf('one'))
    expect(first).toMatchObject({code: 0, stderr: ''})
    expect(first.stdout).toContain('MARK user root\n')
    expect(first.stdout).not.toContain('MARK made')
    expect(first.stdout.trim().endsWith('MARK done')).toBe(true)
    contact(keyOf('one'))
    expect(readFileSync(authorized(), 'utf8')).toBe(
      `ssh-rsa AAAAperson person\nrestrict,pty,port-forwarding ${keyOf('one')}\n`,
    )
    expect(statSync(authorized()).mode & 0o777).toBe(0o644)
  })

  itUnless(obstacle, 'goes without a trace, with the folder that was made for it', () => {
    const {stdout} = contact(keyOf('one'))
    const made = [...stdout.matchAll(/^MARK made (.*)$/gm)].map(([, path = '']) => path)
    expect(made).toEqual([authorized(), join(world, 'home/.ssh')])
    claim('one-00000001', undefined, keyOf('one'), made)
    there(['sh', script('revoke.sh'), '/var/lib/cage/one-00000001/claim'])
    expect(existsSync(join(world, 'home/.ssh'))).toBe(false)
  })
})

describe('a server that cannot be used', () => {
  const release = (text: string) => {
    writeFileSync(join(world, 'os-release'), text)
    const cover =
      'mount --bind "$1" /etc/os-release && HOME="$2" exec sh "$3" MARK "ssh-ed25519 AAAAone cage"'
    const argv = ['--mount', 'sh', '-c', cover, 'sh', join(world, 'os-release'), join(world, 'home')]
    const {status, stdout} = spawnSync('unshare', [...argv, script('first-contact.sh')], {encoding: 'utf8'})
    return {code: status, stdout}
  }

  itUnless(obstacle, 'is told by its distribution before it is touched', () => {
    for (const text of ['ID=alpine\nPRETTY_NAME="Alpine Linux v3.20"\n', 'ID=debianesque\n', '']) {
      expect(release(text).code).toBe(78)
      expect(existsSync(join(world, 'home/.ssh'))).toBe(false)
    }
    expect(release('ID=alpine\nPRETTY_NAME="Alpine Linux v3.20"\n').stdout).toContain(
      '(Alpine Linux v3.20)\n',
    )
    for (const text of ['ID=debian\n', 'ID=ubuntu\nID_LIKE=debian\n', 'ID=pop\nID_LIKE="ubuntu debian"\n'])
      expect(release(text).code).toBe(0)
  })

  const checks = (...args: string[]) => {
    const {stdout} = there(['bash', script('check.sh'), ...args])
    return new Map(stdout.split('\n').map((line) => line.split('\t') as [string, string]))
  }

  itUnless(
    obstacle,
    'is told by its processor and its disk, on which the project’s own files are no burden',
    () => {
      expect(checks('riscv64', '1', 'one-00000001').get('the same processor as this computer')).toBe('no')
      const free = Number(
        spawnSync('df', ['--output=avail', '-B1G', world], {encoding: 'utf8'}).stdout.split('\n')[1],
      )
      expect(checks('x86_64', String(free - 1), 'one-00000001').get('free space at /var/lib')).toBe('yes')
      expect(checks('x86_64', String(free + 2), 'one-00000001').get('free space at /var/lib')).toBe('no')
      mkdirSync(join(base(), 'one-00000001'), {recursive: true})
      spawnSync('fallocate', ['-l', '4G', join(base(), 'one-00000001/disk.img')])
      const after = checks('x86_64', String(free - 1), 'one-00000001').get('free space at /var/lib')
      const others = checks('x86_64', String(free - 1), 'two-00000002').get('free space at /var/lib')
      expect([after, others]).toEqual(['yes', 'no'])
    },
  )
})

describe('layers on a server', () => {
  const sum = (content: Buffer | string) =>
    spawnSync('sha256sum', {input: content, encoding: 'utf8'}).stdout.split(' ')[0] ?? ''
  const archive = () => {
    mkdirSync(join(world, 'root/usr'), {recursive: true})
    writeFileSync(join(world, 'root/usr/file'), 'content')
    return spawnSync('tar', ['-C', join(world, 'root'), '-cz', '.']).stdout
  }
  const layers = (project: string, args: string[], input?: Buffer) => {
    mkdirSync(join(base(), project), {recursive: true})
    const enter = 'mount --bind "$1/lib" /var/lib && shift && exec "$@"'
    const environment = `CAGE_NODE_DIR=/var/lib/cage/${project}/machine`
    const argv = ['--mount', 'sh', '-c', enter, 'sh', world, 'env', environment, script('layers.sh'), ...args]
    const {status, stdout, stderr} = spawnSync('unshare', argv, {input})
    return {code: status, stdout: stdout.toString(), stderr: stderr.toString()}
  }

  itUnless(obstacle, 'arrive in pieces, are checked whole, and are kept while a project needs them', () => {
    const bytes = archive()
    const name = sum(bytes)
    expect(layers('one-00000001', ['want', name]).stdout).toBe(`${name} 0\n`)
    layers('one-00000001', ['append', name, '0'], bytes.subarray(0, 50))
    expect(layers('one-00000001', ['want', name]).stdout).toBe(`${name} 50\n`)
    layers('one-00000001', ['append', name, '50'], bytes.subarray(50))
    expect(layers('one-00000001', ['unpack', name]).code).toBe(0)
    expect(readFileSync(join(base(), 'layers', name, 'usr/file'), 'utf8')).toBe('content')
    expect(layers('two-00000002', ['want', name]).stdout).toBe(`${name} complete\n`)
    rmSync(join(base(), 'one-00000001/layers'))
    layers('one-00000001', ['tidy'])
    expect(existsSync(join(base(), 'layers', name))).toBe(true)
    rmSync(join(base(), 'two-00000002/layers'))
    layers('one-00000001', ['tidy'])
    expect(existsSync(join(base(), 'layers', name))).toBe(false)
  })

  itUnless(obstacle, 'that did not arrive whole are thrown away', () => {
    const bytes = archive()
    const name = sum(bytes)
    layers('one-00000001', ['want', name])
    layers(
      'one-00000001',
      ['append', name, '0'],
      Buffer.concat([bytes.subarray(0, 60), Buffer.from('x'), bytes.subarray(61)]),
    )
    expect(layers('one-00000001', ['unpack', name])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('whole'),
    })
    expect(layers('one-00000001', ['want', name]).stdout).toBe(`${name} 0\n`)
    expect(layers('one-00000001', ['want', '../../etc'])).toMatchObject({code: 1})
  })
})
