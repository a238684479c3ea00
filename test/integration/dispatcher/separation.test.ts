import {execFileSync} from 'node:child_process'
import {readFileSync, readdirSync, statSync} from 'node:fs'
import {afterAll, beforeAll, describe, expect, it} from '@jest/globals'
import {uid} from '../../../core/layout.js'
import {TestDispatcher} from '../../support/dispatcher.js'
import {itUnless} from '../../support/when.js'

const obstacle = process.getuid?.() === 0 ? undefined : 'two users need root'
let door: TestDispatcher

/** Two containers: who reads packs holds no secret, who holds a secret reads no pack. */
beforeAll(async () => {
  door = await TestDispatcher.startSeeded()
})
afterAll(() => door.stop())

const as = (user: number, ...argv: string[]) => {
  try {
    execFileSync('setpriv', [`--reuid=${user}`, `--regid=${user}`, '--clear-groups', ...argv], {
      stdio: 'pipe',
    })
    return true
  } catch {
    return false
  }
}

describe('the git container', () => {
  itUnless(obstacle, 'holds no key and no handle, in files, environment or arguments', () => {
    const task = door.task('sentinel')
    door.clone(task, 'sentinel')
    door.box.commit('sentinel', 'sentinel', 'x', 'x\n')
    expect(door.gitAs(task, 'sentinel', 'push', '-q', 'origin', 'sentinel').code).toBe(0)
    const pid = door.pid('git')
    const environment = readFileSync(`/proc/${pid}/environ`, 'latin1')
    expect(environment).toBe('')
    expect(as(uid.git, 'cat', `${door.box.path('tls')}/tls.key`)).toBe(false)
    expect(as(uid.git, 'ls', door.state)).toBe(false)
    expect(as(uid.gate, 'cat', `${door.box.path('tls')}/tls.key`)).toBe(true)
    const texts = [`${door.volume}/journal`, `${door.volume}/documents`].flatMap((folder) =>
      readdirSync(folder).map((name) => readFileSync(`${folder}/${name}`, 'latin1')),
    )
    for (const text of [...texts, door.log]) expect(text).not.toContain(task.handle)
  })

  itUnless(obstacle, 'listens on no TCP port', () => {
    const inodes = readdirSync(`/proc/${door.pid('git')}/fd`).map((fd) => {
      try {
        return execFileSync('readlink', [`/proc/${door.pid('git')}/fd/${fd}`]).toString()
      } catch {
        return ''
      }
    })
    const tcp = ['tcp', 'tcp6'].flatMap((name) =>
      readFileSync(`/proc/net/${name}`, 'utf8')
        .split('\n')
        .slice(1)
        .map((line) => line.trim().split(/\s+/)[9])
        .filter(Boolean),
    )
    expect(tcp.filter((inode) => inodes.some((link) => link.includes(`[${inode ?? ''}]`)))).toEqual([])
  })
})

describe('the gate container', () => {
  itUnless(obstacle, 'cannot read the repositories, nor act as the operator', () => {
    expect(as(uid.gate, 'ls', door.volume)).toBe(false)
    expect(as(uid.gate, 'ls', `${door.volume}/operator`)).toBe(false)
    expect(as(uid.git, 'ls', `${door.volume}/repositories`)).toBe(true)
    expect(as(uid.git, 'test', '-w', `${door.run}/control.sock`)).toBe(false)
    expect(statSync(`${door.run}/control.sock`).uid).toBe(uid.gate)
  })

  it('imports nothing that reads packs', () => {
    const seen = new Set<string>()
    const visit = (path: string) => {
      if (seen.has(path)) return
      seen.add(path)
      for (const [, target = ''] of readFileSync(path, 'utf8').matchAll(
        /^(?:import|export) (?!type).*?from '(\.[^']*)'/gms,
      )) {
        visit(new URL(target.replace(/\.js$/, '.ts'), `file:///${path}`).pathname.slice(1))
      }
    }
    visit('dispatcher/gate/run.ts')
    expect(seen.size).toBeGreaterThan(10)
    expect(
      [...seen].filter((path) =>
        /dispatcher\/(git|upstream|scan|journal)\/|^scan\/|core\/process/.test(path),
      ),
    ).toEqual([])
  })
})
