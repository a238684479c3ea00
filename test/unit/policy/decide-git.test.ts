import {describe, expect, test} from '@jest/globals'
import {compilePathRules, decidePath, decideRefUpdate} from '../../../policy/decide-git.js'
import {pathLists} from '../../../policy/path-lists.js'
import type {GitGrant} from '../../../policy/grant.js'
import {gitGrant} from '../../support/grants.js'

const a = 'a'.repeat(40)
const b = 'b'.repeat(40)
const zero = '0'.repeat(40)
const grant = gitGrant()
const withPush = (push: Partial<GitGrant['push']>, over: Partial<GitGrant> = {}) =>
  gitGrant({...over, push: {...grant.push, ...push}})
const operator = withPush({refs: [], deny: []}, {principal: 'operator'})

describe('decideRefUpdate for a task', () => {
  test('creates and advances its own branch', () => {
    expect(decideRefUpdate(grant, {old: zero, new: a, ref: 'refs/heads/fix'}).effect).toBe('allow')
    expect(decideRefUpdate(grant, {old: a, new: b, ref: 'refs/heads/fix'}).effect).toBe('allow')
    expect(decideRefUpdate(grant, {old: a, new: b, ref: 'refs/heads/fix', fastForward: true}).effect).toBe(
      'allow',
    )
  })

  test.each([
    'refs/heads/main',
    'refs/heads/fix/x',
    'refs/heads/Fix',
    'refs/heads/FIX',
    'refs/heads/fix2',
    'refs/heads/heads/fix',
    'refs/heads/refs/heads/fix',
    'refs/pull/1/head',
    'refs/notes/commits',
    'refs/replace/aaaa',
    'refs/for/fix',
    'refs/meta/config',
    'refs/stash',
    'HEAD',
    'fix',
    'refs/tags/v1',
    'refs/tags/fix',
  ])('%s is refused in every form of update', (ref) => {
    for (const [old, next] of [
      [zero, a],
      [a, b],
      [a, zero],
    ] as const)
      expect(decideRefUpdate(grant, {old, new: next, ref}).effect).toBe('deny')
  })

  test.each([
    'refs/heads/fix.lock',
    'refs/heads/a..b',
    'refs/heads/a b',
    'refs/heads/a\nb',
    'refs/heads/\u202efix',
    'refs/heads/',
    'refs//heads/fix',
    'refs/heads/fix\0',
    'refs/heads/-',
    `refs/heads/${'x'.repeat(1100)}`,
    'refs/heads/.fix',
    'refs/heads/fix.',
    'refs/heads/a@{1}',
  ])('%j is refused', (ref) =>
    expect(decideRefUpdate(withPush({refs: [ref]}), {old: zero, new: a, ref}).effect).toBe(
      ref === 'refs/heads/-' ? 'allow' : 'deny',
    ),
  )

  test('ids must be ids', () => {
    for (const [old, next] of [
      [zero, zero],
      [a, 'A'.repeat(40)],
      [a, 'b'.repeat(39)],
      [a, 'b'.repeat(64)],
      ['', a],
      [a, `${b}\n`],
    ] as const)
      expect(decideRefUpdate(grant, {old, new: next, ref: 'refs/heads/fix'}).ruleId).toBe('git.syntax')
    expect(
      decideRefUpdate(grant, {old: '0'.repeat(64), new: 'b'.repeat(64), ref: 'refs/heads/fix'}).effect,
    ).toBe('allow')
  })

  test('force and delete only when granted, on the own branch alone', () => {
    const force = {old: a, new: b, ref: 'refs/heads/fix', fastForward: false}
    const remove = {old: a, new: zero, ref: 'refs/heads/fix'}
    expect(decideRefUpdate(grant, force).ruleId).toBe('git.push.force')
    expect(decideRefUpdate(grant, remove).ruleId).toBe('git.push.delete')
    const wide = withPush({force: true, delete: true})
    expect(decideRefUpdate(wide, force).effect).toBe('allow')
    expect(decideRefUpdate(wide, remove).effect).toBe('allow')
    expect(decideRefUpdate(wide, {...force, ref: 'refs/heads/main'}).effect).toBe('deny')
    expect(decideRefUpdate(wide, {...remove, ref: 'refs/heads/main'}).effect).toBe('deny')
  })

  test('tags by exact name or prefix; moving one needs force', () => {
    const tags = withPush({tags: ['refs/tags/v1', 'refs/tags/agent/*']})
    const create = (ref: string) => decideRefUpdate(tags, {old: zero, new: a, ref}).effect
    expect(['v1', 'agent/x', 'agent/x/y'].map((name) => create(`refs/tags/${name}`))).toEqual([
      'allow',
      'allow',
      'allow',
    ])
    expect(['v2', 'agent', 'agents/x', 'V1'].map((name) => create(`refs/tags/${name}`))).toEqual(
      Array(4).fill('deny'),
    )
    expect(decideRefUpdate(tags, {old: a, new: b, ref: 'refs/tags/v1', fastForward: true}).ruleId).toBe(
      'git.push.force',
    )
    expect(decideRefUpdate(tags, {old: a, new: zero, ref: 'refs/tags/v1'}).ruleId).toBe('git.push.delete')
  })

  test('reasons are short ASCII lines without anything of the agent', () => {
    for (const ref of ['refs/heads/SECRET', 'refs/notes/SECRET', 'refs/tags/SECRET', 'SECRET']) {
      const {reason} = decideRefUpdate(grant, {old: a, new: b, ref})
      expect(reason).toMatch(/^[ -~]{1,99}$/)
      expect(reason).not.toContain('SECRET')
    }
  })
})

describe('decideRefUpdate for the operator', () => {
  test('any branch, no other ref, no force or delete without grant', () => {
    const effect = (ref: string, old = zero, next = a, fastForward?: boolean) =>
      decideRefUpdate(operator, {old, new: next, ref, ...(fastForward === undefined ? {} : {fastForward})})
        .effect
    expect(effect('refs/heads/main')).toBe('allow')
    expect(effect('refs/heads/any/branch')).toBe('allow')
    expect(effect('refs/heads/main', a, b, false)).toBe('deny')
    expect(effect('refs/heads/x', a, zero)).toBe('deny')
    expect(effect('refs/notes/x')).toBe('deny')
    expect(effect('refs/tags/v1')).toBe('deny')
    const wide = withPush({refs: [], delete: true, tags: ['refs/tags/*']}, {principal: 'operator'})
    expect(decideRefUpdate(wide, {old: a, new: zero, ref: 'refs/heads/main'}).effect).toBe('deny')
    expect(decideRefUpdate(wide, {old: a, new: zero, ref: 'refs/heads/x'}).effect).toBe('allow')
    expect(decideRefUpdate(wide, {old: zero, new: a, ref: 'refs/tags/v1'}).effect).toBe('allow')
  })
})

describe('paths', () => {
  const judge = compilePathRules(grant)
  const effect = (path: string, mode = '100644', target?: string) =>
    judge(target === undefined ? {path, mode} : {path, mode, target}).effect

  test.each(pathLists.ci.map((entry) => entry.replace('*', '-x')))(
    '%s and what lies below is refused',
    (path) => {
      expect(effect(path)).toBe('deny')
      expect(effect(`${path}/deep/file.yml`)).toBe('deny')
      expect(effect(path.toUpperCase())).toBe('deny')
      expect(effect(path, '000000')).toBe('deny')
      expect(effect(path, '120000', 'x')).toBe('deny')
    },
  )

  test.each([
    '.gitmodules',
    '.GITMODULES',
    '.gitattributes',
    'a/b/.gitattributes',
    'a/.GitAttributes',
    '.github/workflows/x.yml',
    '.GitHub/x',
    '.github./x',
    '.github /x',
    '.git\u200chub/workflows/x.yml',
    '.git\u00adhub/workflows/x.yml',
    '.zuul.yaml',
    '.taskcluster.yml',
    'zuul.d/jobs.yaml',
    'ci/Jenkinsfile',
    '.github\\workflows\\x.yml',
    '.github::$INDEX_ALLOCATION/x',
    'Jenkinsfile.release',
  ])('%j is refused', (path) => expect(effect(path)).toBe('deny'))

  test.each([
    'src/index.ts',
    'docs/.github-notes',
    'github/workflows/x.yml',
    'a/.github/x',
    'my.gitmodules',
    '.githubx',
  ])('%s passes', (path) => expect(effect(path)).toBe('allow'))

  test('a link at a folder above a protected path is refused, a file there is not', () => {
    const deep = compilePathRules(withPush({deny: ['deploy/prod/**']}))
    expect(deep({path: 'deploy', mode: '120000', target: 'x'}).effect).toBe('deny')
    expect(deep({path: 'Deploy/prod', mode: '160000'}).effect).toBe('deny')
    expect(deep({path: 'deploy', mode: '100644'}).effect).toBe('allow')
    expect(deep({path: 'deploy/test', mode: '120000', target: 'x'}).effect).toBe('allow')
  })

  test('links that leave the repository and submodule entries are refused for a task', () => {
    expect(effect('a/link', '120000', '../b')).toBe('allow')
    for (const target of [
      '/etc/passwd',
      '../../x',
      '../a/../../x',
      'C:/x',
      '..\\x',
      '../.git/config',
      '.GIT/hooks',
    ])
      expect(effect('a/link', '120000', target)).toBe('deny')
    expect(effect('a/link', '120000')).toBe('deny')
    expect(effect('vendor/lib', '160000')).toBe('deny')
    const own = compilePathRules(operator)
    expect(own({path: 'vendor/lib', mode: '160000'}).effect).toBe('allow')
    expect(own({path: '.github/workflows/x.yml', mode: '100644'}).effect).toBe('allow')
  })

  test('files that tools obey are flagged; a deny wins over the flag', () => {
    for (const path of [
      'cage.yaml',
      'CLAUDE.md',
      'sub/AGENTS.md',
      '.claude/settings.json',
      '.vscode/tasks.json',
      'a/package.json',
    ])
      expect(effect(path)).toBe('flag')
    expect(decidePath(withPush({deny: ['cage.yaml']}), {path: 'cage.yaml', mode: '100644'}).effect).toBe(
      'deny',
    )
  })
})
