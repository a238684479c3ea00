import {createHash} from 'node:crypto'
import {mkdirSync, writeFileSync} from 'node:fs'
import {dirname} from 'node:path'
import {processRunner, runOk} from '../../../core/process.js'
import type {TestNetwork} from './network.js'

/** Files of the fake internet, by host and path. */
type Serve = (host: string, path: string, content: string | Buffer) => void

/** Puts one small package, `tiny` 1.0.0, into a fake of every registry that a preset names. */
export async function fillRegistries(network: TestNetwork): Promise<void> {
  const serve: Serve = (host, path, content) => {
    const file = network.path('web', host, path)
    mkdirSync(dirname(file), {recursive: true})
    writeFileSync(file, content)
  }
  const draft = network.path('source')
  await npm(serve, draft)
  await pypi(serve)
  await go(serve)
  await crates(serve, draft)
  maven(serve)
  await debian(serve, draft)
  await archive('chmod', '-R', 'a+rX', network.path('web'))
}

async function archive(...argv: [string, ...string[]]): Promise<Buffer> {
  return runOk(processRunner, {argv, timeoutMs: 20_000})
}

function write(file: string, text: string): void {
  mkdirSync(dirname(file), {recursive: true})
  writeFileSync(file, text)
}

const digest = (algorithm: string, bytes: Buffer) => createHash(algorithm).update(bytes)

async function npm(serve: Serve, draft: string): Promise<void> {
  write(`${draft}/package/package.json`, '{"name":"tiny","version":"1.0.0"}')
  const tarball = await archive('tar', '-czf', '-', '-C', draft, 'package')
  const path = 'tiny/-/tiny-1.0.0.tgz'
  const integrity = `sha512-${digest('sha512', tarball).digest('base64')}`
  const dist = {tarball: `https://registry.npmjs.org/${path}`, integrity}
  const about = {
    name: 'tiny',
    'dist-tags': {latest: '1.0.0'},
    time: {'1.0.0': '2020-01-01T00:00:00.000Z'},
    versions: {'1.0.0': {name: 'tiny', version: '1.0.0', dist}},
  }
  for (const host of ['registry.npmjs.org', 'registry.yarnpkg.com']) {
    serve(host, path, tarball)
    serve(host, 'tiny.json', JSON.stringify(about))
  }
}

/** `name=text` each, with `|` for a new line. */
function zip(...files: string[]): Promise<Buffer> {
  const script = `
import sys, zipfile, io
b = io.BytesIO()
with zipfile.ZipFile(b, 'w') as z:
    for name, text in [line.split('=', 1) for line in sys.argv[1:]]:
        z.writestr(name, text.replace('|', '\\n'))
sys.stdout.buffer.write(b.getvalue())`
  return archive('/usr/bin/python3', '-c', script, ...files)
}

async function pypi(serve: Serve): Promise<void> {
  const info = 'tiny-1.0.0.dist-info'
  const file = 'tiny-1.0.0-py3-none-any.whl'
  const wheel = await zip(
    'tiny.py=x = 1',
    `${info}/METADATA=Metadata-Version: 2.1|Name: tiny|Version: 1.0.0|`,
    `${info}/WHEEL=Wheel-Version: 1.0|Generator: test|Root-Is-Purelib: true|Tag: py3-none-any|`,
    `${info}/RECORD=tiny.py,,|${info}/METADATA,,|${info}/WHEEL,,|${info}/RECORD,,|`,
  )
  serve('files.pythonhosted.org', file, wheel)
  serve('pypi.org', 'simple/tiny/index.html', `<a href="https://files.pythonhosted.org/${file}">${file}</a>`)
}

async function go(serve: Serve): Promise<void> {
  const module = 'go.example/tiny'
  const at = (end: string) => `${module}/@v/${end}`
  serve('proxy.golang.org', at('list'), 'v1.0.0\n')
  serve('proxy.golang.org', at('v1.0.0.info'), '{"Version":"v1.0.0","Time":"2020-01-01T00:00:00Z"}')
  serve('proxy.golang.org', at('v1.0.0.mod'), `module ${module}\n`)
  const files = [`${module}@v1.0.0/go.mod=module ${module}|`, `${module}@v1.0.0/tiny.go=package tiny|`]
  serve('proxy.golang.org', at('v1.0.0.zip'), await zip(...files))
}

/** A sparse index: https://doc.rust-lang.org/cargo/reference/registry-index.html */
async function crates(serve: Serve, draft: string): Promise<void> {
  const manifest = '[package]\nname = "tiny"\nversion = "1.0.0"\nedition = "2021"\n'
  write(`${draft}/tiny-1.0.0/Cargo.toml`, manifest)
  write(`${draft}/tiny-1.0.0/src/lib.rs`, '')
  const crate = await archive('tar', '-czf', '-', '-C', draft, 'tiny-1.0.0')
  const cksum = digest('sha256', crate).digest('hex')
  const line = {name: 'tiny', vers: '1.0.0', deps: [], cksum, features: {}, yanked: false}
  serve(
    'index.crates.io',
    'config.json',
    '{"dl":"https://static.crates.io/crates","api":"https://crates.io"}',
  )
  serve('index.crates.io', 'ti/ny/tiny', `${JSON.stringify(line)}\n`)
  serve('static.crates.io', 'crates/tiny/1.0.0/download', crate)
}

function maven(serve: Serve): void {
  const pom = `<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>example</groupId><artifactId>tiny</artifactId><version>1.0.0</version><packaging>pom</packaging></project>`
  serve('repo.maven.apache.org', 'maven2/example/tiny/1.0.0/tiny-1.0.0.pom', pom)
}

/** https://wiki.debian.org/DebianRepository/Format */
async function debian(serve: Serve, draft: string): Promise<void> {
  const control =
    'Package: tiny\nVersion: 1.0.0\nArchitecture: all\nMaintainer: a <a@b.test>\nDescription: tiny\n'
  write(`${draft}/deb/DEBIAN/control`, control)
  await archive('dpkg-deb', '--root-owner-group', '--build', `${draft}/deb`, `${draft}/tiny.deb`)
  const deb = await archive('cat', `${draft}/tiny.deb`)
  const file = 'pool/tiny_1.0.0_all.deb'
  serve('deb.debian.org', `debian/${file}`, deb)
  const sum = digest('sha256', deb).digest('hex')
  const packages = Buffer.from(`${control}Filename: ${file}\nSize: ${deb.length}\nSHA256: ${sum}\n`)
  const list = 'main/binary-amd64/Packages'
  serve('deb.debian.org', `debian/dists/stable/${list}`, packages)
  const release = `Date: Thu, 01 Jan 2026 00:00:00 UTC\nCodename: stable\nArchitectures: amd64\nComponents: main\nSHA256:\n ${digest('sha256', packages).digest('hex')} ${packages.length} ${list}\n`
  serve('deb.debian.org', 'debian/dists/stable/Release', release)
}
