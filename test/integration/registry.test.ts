import {afterEach, beforeEach, describe, expect, it} from '@jest/globals'
import {createHash} from 'node:crypto'
import {mkdtempSync, rmSync, writeFileSync} from 'node:fs'
import {createServer, type Server} from 'node:http'
import type {AddressInfo} from 'node:net'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {processRunner} from '../../core/process.js'
import {silentReporter} from '../../core/report.js'
import type {Command} from '../../core/runner.js'
import {runSteps} from '../../provision/pipeline.js'
import {findAccount} from '../../provision/registry/account.js'
import {Registry} from '../../provision/registry/client.js'
import {registryPlace} from '../../provision/registry/reference.js'
import {imageReferences} from '../../provision/images/plan.js'
import {pushStep} from '../../provision/steps/push.js'
import {FakeImageMachine, FakeNpm} from '../support/fake-image-machine.js'
import {FakeRegistry} from '../support/fake-registry.js'
import {imagesRoot} from '../support/images-root.js'

const account = {user: 'team', password: 'the-secret', dockerConfig: ''}
const signal = AbortSignal.timeout(60_000)
let scratch: string
let root: string
let server: FakeRegistry
let place: ReturnType<typeof registryPlace>

beforeEach(async () => {
  scratch = mkdtempSync(join(tmpdir(), 'cage-registry-'))
  root = imagesRoot()
  server = new FakeRegistry(join(scratch, 'blobs'), account)
  place = registryPlace(`127.0.0.1:${await server.start()}/team`)
})
afterEach(async () => {
  await server.stop()
  rmSync(scratch, {recursive: true})
  rmSync(root, {recursive: true})
})

async function up(registry: Registry, machine = new FakeImageMachine()): Promise<boolean | undefined> {
  const clock = {now: () => Date.now(), sleep: () => Promise.resolve()}
  const step = pushStep({
    root,
    cache: join(scratch, 'cache'),
    architecture: 'amd64',
    upstream: 'hosted',
    registry: () => Promise.resolve(registry),
    transport: machine.transport,
    uid: 0,
    runner: new FakeNpm(),
    clock,
  })
  const [result] = await runSteps([step], {reporter: silentReporter, clock, signal})
  return result?.changed
}

describe('images in a registry', () => {
  it('are pushed once, each blob once', async () => {
    const registry = new Registry(place, account)
    expect(await up(registry)).toBe(true)
    const wanted = Object.values(await imageReferences(root, 'amd64', 'hosted')).map((reference) =>
      reference.replace('cage.local/', 'team/'),
    )
    expect([...server.manifests.keys()].sort()).toEqual(wanted.sort())
    const before = server.requests.length
    expect(await up(registry)).toBe(false)
    expect(server.requests.slice(before).every((request) => request.startsWith('HEAD '))).toBe(true)
    writeFileSync(join(root, 'dist/proxy.js'), '// another')
    const pushed = server.requests.length
    expect(await up(registry)).toBe(true)
    // Its own files and its configuration: the other layers are there.
    const uploads = server.requests.slice(pushed).filter((request) => request.startsWith('PUT'))
    expect(uploads.map((request) => request.replace(/uploads\/.*/, 'uploads'))).toEqual([
      'PUT /v2/team/proxy/blobs/uploads',
      'PUT /v2/team/proxy/blobs/uploads',
      expect.stringMatching(/^PUT \/v2\/team\/proxy\/manifests\/[0-9a-f]{16}$/) as unknown as string,
    ])
  })

  it('are pushed with tokens where the registry asks for them', async () => {
    server.tokens = true
    expect(await up(new Registry(place, account))).toBe(true)
    expect(server.manifests.size).toBe(3)
    // One token for each repository, and the account only to where tokens are.
    expect(server.requests.filter((request) => request === 'GET /token').length).toBe(3)
    await expect(new Registry(place).ping(signal)).rejects.toMatchObject({code: 'REGISTRY_DENIED'})
  })

  it('an account goes to no place for tokens that is not HTTPS', async () => {
    const seen: string[] = []
    const other = createServer((request, response) => {
      seen.push(request.url ?? '')
      response.end('{}')
    })
    await new Promise<void>((done) => other.listen(0, '127.0.0.1', done))
    const liar = createServer((_request, response) => {
      const realm = `http://127.0.0.1:${(other.address() as AddressInfo).port}/token`
      response.writeHead(401, {'www-authenticate': `Bearer realm="${realm}"`}).end()
    })
    await new Promise<void>((done) => liar.listen(0, '127.0.0.1', done))
    const registry = new Registry(registryPlace(`127.0.0.1:${(liar.address() as AddressInfo).port}`), account)
    await expect(registry.ping(signal)).rejects.toMatchObject({code: 'REGISTRY_FAILED'})
    expect(seen).toEqual([])
    other.close()
    liar.close()
  })

  it.each([
    ['no account', undefined],
    ['a wrong one', {...account, password: 'wrong-secret'}],
  ])('%s is refused by name, and no message shows a password', async (_what, wrong) => {
    const registry = new Registry(place, wrong)
    const error: unknown = await registry.ping(signal).catch((cause: unknown) => cause)
    expect(error).toMatchObject({code: 'REGISTRY_DENIED', exitCode: 3})
    expect(String(error)).not.toContain('wrong-secret')
    await expect(up(registry)).rejects.toMatchObject({code: 'REGISTRY_DENIED'})
    expect(server.manifests.size).toBe(0)
  })

  it('a blob that changed on its way is refused by the registry', async () => {
    const registry = new Registry(place, account)
    const digest = `sha256:${createHash('sha256').update('other').digest('hex')}`
    await expect(registry.putBlob('agent', digest, Buffer.from('bytes'), signal)).rejects.toMatchObject({
      code: 'REGISTRY_FAILED',
      message: expect.stringContaining('DIGEST_INVALID') as unknown as string,
    })
  })

  it('the account goes nowhere else: a place of another origin and a redirect are errors', async () => {
    const seen: (string | undefined)[] = []
    const listen = async (answer: Parameters<typeof createServer>[1]): Promise<[Server, number]> => {
      const other = createServer(answer as never)
      await new Promise<void>((done) => other.listen(0, '127.0.0.1', done))
      return [other, (other.address() as AddressInfo).port]
    }
    const [thief, port] = await listen((request, response) => {
      seen.push(request.headers.authorization)
      response.writeHead(201).end()
    })
    const [liar, liarPort] = await listen((request, response) => {
      const location = `http://127.0.0.1:${port}/v2/x`
      response.writeHead(request.method === 'POST' ? 202 : 307, {location}).end()
    })
    const registry = new Registry(registryPlace(`127.0.0.1:${liarPort}`), account)
    const digest = `sha256:${'0'.repeat(64)}`
    await expect(registry.putBlob('agent', digest, Buffer.from('x'), signal)).rejects.toMatchObject({
      code: 'REGISTRY_FAILED',
    })
    await expect(registry.ping(signal)).rejects.toMatchObject({code: 'REGISTRY_FAILED'})
    expect(seen).toEqual([])
    thief.close()
    liar.close()
  })

  it('a registry that is not there is named', async () => {
    await server.stop()
    await expect(new Registry(place, account).ping(signal)).rejects.toMatchObject({
      code: 'REGISTRY_UNREACHABLE',
      message: expect.stringContaining(place.host) as unknown as string,
    })
    server = new FakeRegistry(join(scratch, 'blobs'))
    await server.start()
  })
})

describe('the account of a registry', () => {
  const folder = (content: string) => {
    const path = mkdtempSync(join(tmpdir(), 'cage-account-'))
    writeFileSync(join(path, 'config.json'), content)
    return path
  }
  const auth = Buffer.from('me:pass:word').toString('base64')
  const asked: Command[] = []
  /** `docker-credential-pass` has an account for the one host. */
  const sources = (env: Record<string, string> = {}) => ({
    home: '/nonexistent',
    env,
    runner: {
      ...processRunner,
      run: (command: Command) => {
        asked.push(command)
        const known = command.argv[0] === 'docker-credential-pass' && command.input === 'r.example.com'
        const stdout = Buffer.from(known ? '{"Username":"me","Secret":"from the helper"}' : 'not found')
        return Promise.resolve({code: known ? 0 : 1, stdout, stderr: ''})
      },
    },
  })
  const place = registryPlace('r.example.com/team')
  const two = JSON.stringify({auths: {'r.example.com': {auth}, 'other.example': {auth: 'b3RoZXI6eA=='}}})

  it('is the entry of that host and no other, for the nodes too', async () => {
    expect(await findAccount(join(folder(two), 'config.json'), place, sources())).toEqual({
      user: 'me',
      password: 'pass:word',
      dockerConfig: JSON.stringify({auths: {'r.example.com': {auth}}}),
    })
  })

  it('is that of Docker when no file is named, for pushing alone', async () => {
    const env = {DOCKER_CONFIG: folder(two)}
    expect(await findAccount(undefined, place, sources(env))).toEqual({user: 'me', password: 'pass:word'})
    expect(await findAccount(undefined, registryPlace('third.example'), sources(env))).toBeUndefined()
    expect(await findAccount(undefined, place, sources())).toBeUndefined()
  })

  it.each([{credHelpers: {'r.example.com': 'pass'}}, {auths: {'r.example.com': {}}, credsStore: 'pass'}])(
    'is asked of the helper that Docker would ask: %j',
    async (config) => {
      const env = {DOCKER_CONFIG: folder(JSON.stringify(config))}
      const found = {user: 'me', password: 'from the helper'}
      expect(await findAccount(undefined, place, sources(env))).toEqual(found)
      expect(asked.at(-1)?.argv).toEqual(['docker-credential-pass', 'get'])
    },
  )

  it.each([
    ['no file', '/nonexistent'],
    ['no JSON', folder(`{"auths": {"r.example.com": {"auth": "${auth}`)],
    ['no entry', folder(JSON.stringify({auths: {'other.example': {auth}}}))],
    ['a helper without it', folder(JSON.stringify({credHelpers: {'r.example.com': 'empty'}}))],
    ['a helper that is a path', folder(JSON.stringify({credHelpers: {'r.example.com': '../x'}}))],
    ['no password', folder(JSON.stringify({auths: {'r.example.com': {auth: 'bWU='}}}))],
  ])('%s is an error that shows nothing of the file', async (_what, path) => {
    const error: unknown = await findAccount(join(path, 'config.json'), place, sources()).catch(
      (cause: unknown) => cause,
    )
    expect(error).toMatchObject({code: 'REGISTRY_ACCOUNT', exitCode: 3})
    expect(String(error)).not.toContain(auth)
  })

  it('is asked of a host by HTTPS, of this computer alone by HTTP', () => {
    expect(registryPlace('registry.example.com/team/cage')).toEqual({
      host: 'registry.example.com',
      path: 'team/cage/',
      origin: 'https://registry.example.com',
      account: 'registry.example.com',
    })
    expect(registryPlace('docker.io/me')).toMatchObject({
      origin: 'https://registry-1.docker.io',
      account: expect.stringContaining('index.docker.io/v1/') as unknown,
    })
    expect(registryPlace('10.0.0.1:5000').origin).toBe('https://10.0.0.1:5000')
    expect(registryPlace('127.0.0.1.example.com').origin).toBe('https://127.0.0.1.example.com')
    expect(registryPlace('localhost:5000/x').origin).toBe('http://localhost:5000')
  })
})
