import {chmod, cp, mkdir, mkdtemp, readFile, rm, writeFile} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {afterEach, beforeEach, describe, expect, it} from '@jest/globals'
import {systemClock} from '../../../core/clock.js'
import {built, contentHash, type BuildCache} from '../../../provision/build-cache.js'
import {progress} from '../../../provision/machine/local-build.js'

let home: string
let cache: BuildCache
beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'cage-cache-'))
  cache = {
    directory: join(home, 'cache'),
    clock: systemClock,
    signal: new AbortController().signal,
    detail: () => undefined,
  }
  await mkdir(join(home, 'source/inner'), {recursive: true})
  await writeFile(join(home, 'source/build.sh'), 'make\n')
  await writeFile(join(home, 'source/inner/go.sum'), 'sum\n')
})
afterEach(() => rm(home, {recursive: true, force: true}))

describe('what is built', () => {
  it('is built once, and again when an input changes', async () => {
    let builds = 0
    const request = {
      name: 'kubernetes',
      inputs: [join(home, 'source')],
      facts: ['x64'],
      build: async (directory: string) => {
        await mkdir(directory)
        await writeFile(join(directory, 'result'), String(++builds))
      },
    }
    const first = await built(request, cache)
    expect(await built(request, cache)).toBe(first)
    expect(first).toMatch(/\/kubernetes-[0-9a-f]{16}$/)
    await writeFile(join(home, 'source/inner/go.sum'), 'other\n')
    const second = await built(request, cache)
    expect(second).not.toBe(first)
    expect(await readFile(join(second, 'result'), 'utf8')).toBe('2')
    expect(await built({...request, facts: ['arm64']}, cache)).not.toBe(second)
  })

  it('is built by one when two ask at the same time', async () => {
    let builds = 0
    const request = {
      name: 'root',
      inputs: [join(home, 'source')],
      facts: [],
      build: async (directory: string) => {
        builds++
        await systemClock.sleep(50)
        await mkdir(directory)
      },
    }
    const said: string[] = []
    // Either may be the one that waits.
    const heard = {...cache, detail: (text: string) => said.push(text)}
    await Promise.all([built(request, heard), built(request, heard)])
    expect(builds).toBe(1)
    expect(said).toEqual(['another cage builds root; waiting for it'])
  })

  it('is not there after a build that failed', async () => {
    const failing = {
      name: 'root',
      inputs: [],
      facts: [],
      build: () => Promise.reject(new Error('no network')),
    }
    await expect(built(failing, cache)).rejects.toThrow('no network')
    let builds = 0
    const build = async (directory: string) => {
      builds++
      await mkdir(directory)
    }
    await built({...failing, build}, cache)
    expect(builds).toBe(1)
  })
})

describe('the hash of inputs', () => {
  it('is the same in a moved checkout and differs by name, content and mode', async () => {
    const source = join(home, 'source')
    const hash = await contentHash([source], [])
    await cp(source, join(home, 'elsewhere'), {recursive: true})
    expect(await contentHash([join(home, 'elsewhere')], [])).toBe(hash)
    await chmod(join(source, 'build.sh'), 0o755)
    expect(await contentHash([source], [])).not.toBe(hash)
  })
})

describe('progress of a build', () => {
  it('names the part and counts what was compiled', () => {
    const said: string[] = []
    const take = progress((text) => said.push(text))
    take(Buffer.from('== Kubernetes v1.36.3\nk8s.io/api/core/v1\nk8s.io/'))
    take(Buffer.from('apimachinery/pkg/runtime\nW: a warning\nI: extracting archives...\n'))
    expect(said).toEqual([
      'Kubernetes v1.36.3',
      'Kubernetes v1.36.3, 1 packages compiled',
      'Kubernetes v1.36.3, 2 packages compiled',
      'Kubernetes v1.36.3, 2 packages compiled',
      'extracting archives...',
    ])
  })
})
