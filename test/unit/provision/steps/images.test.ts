import {afterEach, beforeEach, describe, expect, it} from '@jest/globals'
import {execFileSync} from 'node:child_process'
import {mkdirSync, mkdtempSync, readdirSync, rmSync, utimesSync, writeFileSync} from 'node:fs'
import {tmpdir} from 'node:os'
import {dirname, join} from 'node:path'
import {silentReporter} from '../../../../core/report.js'
import {imageReferences} from '../../../../provision/images/plan.js'
import {runSteps} from '../../../../provision/pipeline.js'
import {imagesStep} from '../../../../provision/steps/images.js'
import {FakeImageMachine, FakeNpm} from '../../../support/fake-image-machine.js'
import {imagesRoot} from '../../../support/images-root.js'

const day = 86_400_000
let root: string
let cache: string
let machine: FakeImageMachine
let npm: FakeNpm
let now: number
beforeEach(() => {
  root = imagesRoot()
  cache = join(mkdtempSync(join(tmpdir(), 'cage-cache-')), 'images')
  machine = new FakeImageMachine()
  npm = new FakeNpm()
  now = Date.now()
})
afterEach(() => {
  rmSync(root, {recursive: true})
  rmSync(dirname(cache), {recursive: true})
})

async function up(): Promise<boolean | undefined> {
  const clock = {now: () => now, sleep: () => Promise.resolve()}
  const step = imagesStep({
    root,
    cache,
    architecture: 'amd64',
    upstream: 'hosted',
    transport: machine.transport,
    runner: npm,
    clock,
  })
  const [result] = await runSteps([step], {
    reporter: silentReporter,
    clock,
    signal: new AbortController().signal,
  })
  return result?.changed
}

describe('step images', () => {
  it('builds and imports all three, once', async () => {
    expect(await up()).toBe(true)
    expect([...machine.images.keys()].sort()).toEqual(
      Object.values(await imageReferences(root, 'amd64', 'hosted')).sort(),
    )
    expect(machine.builds).toHaveLength(3)
    expect(await up()).toBe(false)
    expect(machine.builds).toHaveLength(3)
    expect(npm.runs).toBe(1)
  })

  it('imports on another machine what this computer has built', async () => {
    await up()
    const first = machine
    machine = new FakeImageMachine()
    expect(await up()).toBe(true)
    expect(machine.builds).toEqual([])
    expect(npm.runs).toBe(1)
    expect(machine.imported).toEqual(first.imported)
  })

  it('builds a changed bundle without Debian or npm, and imports that image only', async () => {
    await up()
    machine.imported.clear()
    writeFileSync(join(root, 'dist/proxy.js'), 'export default 2\n')
    expect(await up()).toBe(true)
    expect([...machine.imported.keys()]).toEqual([(await imageReferences(root, 'amd64', 'hosted')).proxy])
    expect(machine.builds).toHaveLength(3)
    expect(npm.runs).toBe(1)
  })

  it('sends only the layers that the machine does not have', async () => {
    machine.keepsContent = true
    await up()
    const whole = machine.imported.get((await imageReferences(root, 'amd64', 'hosted')).proxy)?.length ?? 0
    writeFileSync(join(root, 'dist/proxy.js'), 'export default 2\n')
    await up()
    const archive = machine.imported.get((await imageReferences(root, 'amd64', 'hosted')).proxy)
    expect(archive?.length).toBeLessThan(whole)
    const layers = execFileSync('tar', ['-t'], {input: archive}).toString().trim().split('\n')
    // oci-layout, index, configuration, manifest, and the layer with the bundle
    expect(layers).toHaveLength(5)
  })

  it('imports again what was not unpacked', async () => {
    await up()
    const {agent} = await imageReferences(root, 'amd64', 'hosted')
    machine.images.set(agent, false)
    machine.imported.clear()
    expect(await up()).toBe(true)
    expect([...machine.imported.keys()]).toEqual([agent])
  })

  it('builds a layer again whose file is incomplete', async () => {
    await up()
    for (const name of readdirSync(cache).filter((name) => name.endsWith('.tar')))
      writeFileSync(join(cache, name), 'cut')
    machine = new FakeImageMachine()
    expect(await up()).toBe(true)
    expect(machine.builds).toHaveLength(3)
  })

  it('packs Claude Code as npm would have installed it, and no other processor', async () => {
    await up()
    const archive = machine.imported.get((await imageReferences(root, 'amd64', 'hosted')).agent)
    const tarOf = (args: string[], input: Buffer | undefined) => execFileSync('tar', args, {input})
    const blobOf = (digest: string) => tarOf(['-xO', `blobs/${digest.replace(':', '/')}`], archive)
    const index = JSON.parse(tarOf(['-xO', 'index.json'], archive).toString()) as {
      manifests: {digest: string}[]
    }
    const manifest = JSON.parse(blobOf(index.manifests[0]!.digest).toString()) as {layers: {digest: string}[]}
    const layers = manifest.layers.map(({digest}) => blobOf(digest))
    expect(tarOf(['-t'], layers[0]).toString().trim().split('\n')).toEqual([
      'usr/local/bin/node',
      'usr/share/doc/node/copyright',
    ])
    const claude = 'usr/local/lib/node_modules/@anthropic-ai/claude-code/bin/claude.exe'
    expect(tarOf(['-xO', claude], layers[2]).toString()).toBe('@anthropic-ai/claude-code-linux-x64/claude')
    expect(tarOf(['-tv', '-f', '-', 'etc/claude-code/managed-settings.json'], layers[3]).toString()).toMatch(
      /^-rw-r--r-- 0\/0 /,
    )
  })

  it('says why npm failed, and leaves nothing half-made', async () => {
    npm.failure = 'npm error network'
    await expect(up()).rejects.toMatchObject({
      code: 'IMAGE_NPM_FAILED',
      message: expect.stringContaining('npm error network'),
    })
    expect(readdirSync(cache).filter((name) => name.startsWith('.build-'))).toEqual([])
    npm.failure = undefined
    expect(await up()).toBe(true)
  })

  it.each([
    ['build-image.sh', 'IMAGE_DEBIAN_FAILED', 'E: no such package'],
    ['import-image.sh', 'IMAGE_IMPORT_FAILED', 'no space left on device'],
    ['ctr', 'RUNTIME_NOT_READY', 'connection refused'],
  ])('says why %s failed', async (program, code, reason) => {
    machine.failing.set(program, {code: 1, stderr: reason})
    await expect(up()).rejects.toMatchObject({code, message: expect.stringContaining(reason)})
    machine.failing.clear()
    expect(await up()).toBe(true)
  })

  it('forgets layers that nobody has asked for in 60 days, and what a killed cage left', async () => {
    await up()
    const [old, young] = ['0'.repeat(64), '1'.repeat(64)]
    for (const [key, age] of [
      [old, 61],
      [young, 59],
    ] as const) {
      for (const end of ['.tar', '.json']) {
        writeFileSync(join(cache, key + end), '')
        utimesSync(join(cache, key + end), (now - age * day) / 1000, (now - age * day) / 1000)
      }
    }
    for (const [draft, age] of [
      ['.build-old', 2],
      ['.build-young', 0],
    ] as const) {
      mkdirSync(join(cache, draft))
      utimesSync(join(cache, draft), (now - age * day) / 1000, (now - age * day) / 1000)
    }
    writeFileSync(join(root, 'dist/proxy.js'), 'export default 3\n')
    await up()
    const names = readdirSync(cache)
    expect(names).not.toContain(`${old}.tar`)
    expect(names).toContain(`${young}.tar`)
    expect(names.filter((name) => name.startsWith('.build-'))).toEqual(['.build-young'])
  })
})
