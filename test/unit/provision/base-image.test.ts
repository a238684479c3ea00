import {appendFileSync, cpSync, mkdtempSync, rmSync, writeFileSync} from 'node:fs'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {afterEach, beforeEach, describe, expect, it} from '@jest/globals'
import {baseName} from '../../../provision/machine/base-name.js'
import {imagesRoot} from '../../support/images-root.js'

describe('the name of a base image', () => {
  let packageRoot: string
  let cacheHome: string
  const name = (driver: 'lima' | 'vagrant' = 'vagrant', image?: string) =>
    baseName({driver, ...(image === undefined ? {} : {image})}, {packageRoot, cacheHome})

  beforeEach(() => {
    packageRoot = imagesRoot()
    cacheHome = mkdtempSync(join(tmpdir(), 'cage-base-'))
    for (const path of ['images/kubernetes', 'lima', 'Vagrantfile'])
      cpSync(path, join(packageRoot, path), {recursive: true})
  })
  afterEach(() => {
    for (const folder of [packageRoot, cacheHome]) rmSync(folder, {recursive: true, force: true})
  })

  it('is the same for the same inputs, and one that no project has', async () => {
    expect(await name()).toMatch(/^base-[0-9a-f]{16}$/)
    expect(await name()).toBe(await name())
  })

  it.each([
    ['what tasks run', 'dist/proxy.js'],
    ['the Kubernetes', 'images/kubernetes/kubernetes/go.mod'],
    ['the root of the node', 'provision/guest/node-root.sh'],
    ['what becomes of its disks', 'provision/guest/node/disks.sh'],
    ['what is taken out of it', 'provision/guest/vm/seal.sh'],
    ['the machine itself', 'Vagrantfile'],
  ])('changes with %s', async (_, file) => {
    const before = await name()
    appendFileSync(join(packageRoot, file), '\n')
    expect(await name()).not.toBe(before)
  })

  it('is another one for each driver and for an image of the person’s own, by its content’s shape', async () => {
    const image = join(cacheHome, 'own.box')
    writeFileSync(image, 'one')
    const names = [await name('lima'), await name('vagrant'), await name('vagrant', image)]
    appendFileSync(image, 'two')
    names.push(await name('vagrant', image))
    expect(new Set(names).size).toBe(4)
  })

  it('is none where the person’s own image is not there', async () => {
    expect(await name('vagrant', join(cacheHome, 'nowhere.box'))).toBeUndefined()
  })
})
