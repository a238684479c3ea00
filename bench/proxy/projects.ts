/** What people do all day, as a whole: `npm ci` of a large project and `git clone` of a large repository, from a mirror of their own. */
import {execFileSync, spawn, spawnSync} from 'node:child_process'
import {createHash} from 'node:crypto'
import {mkdirSync, mkdtempSync, rmSync, writeFileSync} from 'node:fs'
import {createServer} from 'node:http'
import {join} from 'node:path'
import {gzipSync} from 'node:zlib'
import {seededRandom} from '../../test/support/secret-sample.js'
import {GIT_PORT, originHost} from './world.js'

const PACKAGES = 600
const COMMITS = 400
const FILES_A_COMMIT = 10
const FILE_BYTES = 16_000

/** How the programs get out: by a proxy's port, or directly. */
export interface Way {
  proxyPort?: number | undefined
  /** PEM file of the roots that the programs trust */
  ca: string
}

/** A project with a lock file of 600 packages, and their archives below the origin's `/npm/`. */
export function writePackages(directory: string): void {
  const random = seededRandom(600)
  const archives = join(directory, 'www', 'npm')
  const project = join(directory, 'project')
  mkdirSync(archives, {recursive: true})
  mkdirSync(project)
  const dependencies: Record<string, string> = {}
  const packages: Record<string, unknown> = {'': {name: 'project', version: '1.0.0', dependencies}}
  for (let index = 0; index < PACKAGES; index++) {
    const name = `package-${index}`
    const manifest = {name, version: '1.0.0', main: 'index.js', license: 'MIT'}
    const archive = gzipSync(
      tar([
        ['package/package.json', Buffer.from(JSON.stringify(manifest))],
        ['package/index.js', sourceText(2_000 + Math.floor(random() * 40_000), random)],
        ['package/lib/main.js', sourceText(2_000 + Math.floor(random() * 20_000), random)],
      ]),
    )
    writeFileSync(join(archives, `${name}.tgz`), archive)
    dependencies[name] = '1.0.0'
    packages[`node_modules/${name}`] = {
      version: '1.0.0',
      resolved: `https://${originHost}/npm/${name}.tgz`,
      integrity: `sha512-${createHash('sha512').update(archive).digest('base64')}`,
      license: 'MIT',
    }
  }
  const manifest = {name: 'project', version: '1.0.0', private: true, dependencies}
  const lock = {name: 'project', version: '1.0.0', lockfileVersion: 3, requires: true, packages}
  writeFileSync(join(project, 'package.json'), JSON.stringify(manifest))
  writeFileSync(join(project, 'package-lock.json'), JSON.stringify(lock))
}

/** A packed repository: 400 commits, 4000 files, 64 MB of text. */
export function writeRepository(directory: string): void {
  const random = seededRandom(60)
  const repository = join(directory, 'git', 'large.git')
  execFileSync('git', ['init', '-q', '--bare', '-b', 'main', repository])
  const parts: (string | Buffer)[] = []
  for (let commit = 0; commit < COMMITS; commit++) {
    parts.push(`commit refs/heads/main\ncommitter Bench <bench@localhost> ${1_700_000_000 + commit} +0000\n`)
    parts.push(`data 7\ncommit\n`)
    for (let file = 0; file < FILES_A_COMMIT; file++) {
      const text = sourceText(FILE_BYTES, random)
      parts.push(
        `M 644 inline folder-${commit % 50}/file-${commit}-${file}.js\ndata ${text.length}\n`,
        text,
        '\n',
      )
    }
  }
  parts.push('done\n')
  const input = Buffer.concat(parts.map((part) => Buffer.from(part)))
  execFileSync('git', ['-C', repository, 'fast-import', '--quiet', '--done'], {
    input,
    stdio: ['pipe', 'ignore', 'inherit'],
  })
  execFileSync('git', ['-C', repository, 'repack', '-qad'], {stdio: ['ignore', 'ignore', 'inherit']})
}

/** Repositories of the directory over smart HTTP, by git's own program. */
export function serveRepositories(directory: string): void {
  createServer((request, response) => {
    const url = new URL(request.url ?? '/', 'http://origin.invalid')
    const child = spawn('git', ['http-backend'], {
      env: {
        ...process.env,
        GIT_PROJECT_ROOT: join(directory, 'git'),
        GIT_HTTP_EXPORT_ALL: '1',
        PATH_INFO: url.pathname.replace(/^\/git/, ''),
        QUERY_STRING: url.search.slice(1),
        REQUEST_METHOD: request.method ?? 'GET',
        CONTENT_TYPE: request.headers['content-type'] ?? '',
        HTTP_CONTENT_ENCODING: request.headers['content-encoding'] ?? '',
        GIT_PROTOCOL: String(request.headers['git-protocol'] ?? ''),
      },
      stdio: ['pipe', 'pipe', 'inherit'],
    })
    request.pipe(child.stdin)
    let head: Buffer | undefined = Buffer.alloc(0)
    child.stdout.on('data', (chunk: Buffer) => {
      if (head === undefined) {
        response.write(chunk)
        return
      }
      head = Buffer.concat([head, chunk])
      const end = head.indexOf('\r\n\r\n')
      if (end < 0) return
      const lines = head.toString('latin1', 0, end).split('\r\n')
      const headers = lines.flatMap((line) => line.split(/: (.*)/s).slice(0, 2))
      const status = lines.find((line) => line.startsWith('Status: '))?.slice(8, 11) ?? '200'
      response.writeHead(Number(status), headers)
      response.write(head.subarray(end + 4))
      head = undefined
    })
    child.stdout.on('end', () => response.end())
  }).listen(GIT_PORT, '127.0.0.1', () => process.stdout.write('ready\n'))
}

/** One `npm ci` with an empty cache; seconds. Throws when it fails. */
export function npmCi(directory: string, way: Way): number {
  const scratch = mkdtempSync(join(directory, 'npm-'))
  try {
    for (const file of ['package.json', 'package-lock.json'])
      execFileSync('cp', [join(directory, 'project', file), scratch])
    const options = [
      '--ignore-scripts',
      '--no-audit',
      '--no-fund',
      '--loglevel=error',
      '--cache',
      join(scratch, 'cache'),
    ]
    return timed(
      'npm',
      ['ci', ...options, '--registry', `https://${originHost}/npm/`, '--cafile', way.ca],
      scratch,
      way,
    )
  } finally {
    rmSync(scratch, {recursive: true, force: true})
  }
}

/** One `git clone` with its working tree; seconds. Throws when it fails. */
export function clone(directory: string, way: Way): number {
  const scratch = mkdtempSync(join(directory, 'clone-'))
  try {
    const url = `https://${originHost}/git/large.git`
    return timed(
      'git',
      ['-c', `http.sslCAInfo=${way.ca}`, 'clone', '-q', url, join(scratch, 'large')],
      scratch,
      way,
    )
  } finally {
    rmSync(scratch, {recursive: true, force: true})
  }
}

/** On the core of origin and load, as all that is measured. */
function timed(program: string, args: readonly string[], cwd: string, {proxyPort}: Way): number {
  const {HOME, PATH} = process.env
  const proxy =
    proxyPort === undefined
      ? {}
      : {HTTPS_PROXY: `http://127.0.0.1:${proxyPort}`, https_proxy: `http://127.0.0.1:${proxyPort}`}
  const started = performance.now()
  const {status} = spawnSync('taskset', ['-c', '1', program, ...args], {
    cwd,
    env: {HOME, PATH, GIT_CONFIG_GLOBAL: '/dev/null', ...proxy},
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  if (status !== 0) throw new Error(`${program} ended with ${String(status)}`)
  return (performance.now() - started) / 1000
}

/** Lines that look like code and compress like it. */
function sourceText(bytes: number, random: () => number): Buffer {
  const words = [
    'const',
    'return',
    'value',
    'items',
    'index',
    'function',
    'result',
    'options',
    'name',
    'await',
  ]
  let text = ''
  while (text.length < bytes) {
    text += `${words[Math.floor(random() * words.length)]} ${Math.floor(random() * 1e15).toString(36)} = ${words[Math.floor(random() * words.length)]}\n`
  }
  return Buffer.from(text.slice(0, bytes))
}

/** An archive in the form of POSIX (ustar). */
function tar(files: readonly [path: string, content: Buffer][]): Buffer {
  const blocks = files.flatMap(([path, content]) => {
    const header = Buffer.alloc(512)
    header.write(path, 0)
    header.write('0000644\0', 100)
    header.write('0000000\0', 108)
    header.write('0000000\0', 116)
    header.write(`${content.length.toString(8).padStart(11, '0')}\0`, 124)
    header.write('14000000000\0', 136)
    header.write('        ', 148)
    header.write('0', 156)
    header.write('ustar\x0000', 257)
    const sum = header.reduce((total, byte) => total + byte, 0)
    header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148)
    return [header, content, Buffer.alloc((512 - (content.length % 512)) % 512)]
  })
  return Buffer.concat([...blocks, Buffer.alloc(1024)])
}
