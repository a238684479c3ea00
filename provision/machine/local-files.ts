import {copyFile, cp, mkdir, readdir, readFile, rename, rm, stat, writeFile} from 'node:fs/promises'
import {dirname, join} from 'node:path'
import {runOk} from '../../core/process.js'
import type {Runner} from '../../core/runner.js'
import {contentHash} from '../build-cache.js'
import {cniConfiguration, containerdConfiguration} from './node-configuration.js'

export interface NodeFiles {
  /** `provision/guest` of cage */
  guest: string
  /** CIDR of the pods */
  pods: string
  /** reference of the pause image */
  pause: string
}

/** Where distributions keep the certificates that programs on this computer trust. */
const bundles = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/ssl/ca-bundle.pem',
  '/etc/ssl/cert.pem',
]

/** The topmost read-only layer of a node's root: cage's scripts, configuration, and how this computer reaches its package sources. */
export async function layOutFiles(runner: Runner, directory: string, files: NodeFiles): Promise<void> {
  const draft = `${directory}.new`
  await rm(draft, {recursive: true, force: true})
  const put = async (path: string, content: string) => {
    await mkdir(dirname(join(draft, path)), {recursive: true})
    await writeFile(join(draft, path), content)
  }
  await cp(files.guest, join(draft, 'usr/local/lib/cage'), {recursive: true})
  await put('usr/local/lib/cage/.content', await contentHash([files.guest], []))
  await put('etc/containerd/config.toml', containerdConfiguration(files.pause))
  await put('etc/cni/net.d/10-cage.conflist', cniConfiguration(files.pods))
  await layOutPackageSources(runner, draft, files.guest)
  const bundle = await firstThat(bundles)
  if (bundle !== undefined) await put('etc/ssl/certs/ca-certificates.crt', await readFile(bundle, 'utf8'))
  await rm(directory, {recursive: true, force: true})
  await rename(draft, directory)
}

async function layOutPackageSources(runner: Runner, draft: string, guest: string): Promise<void> {
  const found = `${draft}.apt`
  try {
    await runOk(runner, {argv: [join(guest, 'apt-settings.sh'), 'bookworm', found]})
    await mkdir(join(draft, 'etc/apt/apt.conf.d'), {recursive: true})
    await copyFile(join(found, 'apt.conf'), join(draft, 'etc/apt/apt.conf.d/50computer'))
    if ((await stat(join(found, 'sources.list'))).size > 0) {
      await copyFile(join(found, 'sources.list'), join(draft, 'etc/apt/sources.list'))
    }
    for (const key of await readdir(join(found, 'keys'))) {
      await mkdir(join(draft, 'usr/share/keyrings'), {recursive: true})
      await copyFile(join(found, 'keys', key), join(draft, 'usr/share/keyrings', key))
    }
  } finally {
    await rm(found, {recursive: true, force: true})
  }
}

async function firstThat(paths: readonly string[]): Promise<string | undefined> {
  for (const path of paths) {
    if ((await stat(path).catch(() => undefined))?.isFile()) return path
  }
  return undefined
}
