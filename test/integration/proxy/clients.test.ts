import {chmodSync, existsSync, mkdirSync, writeFileSync} from 'node:fs'
import {afterAll, beforeAll, beforeEach, describe, expect, test} from '@jest/globals'
import {processRunner} from '../../../core/process.js'
import {compileRules} from '../../../policy/compile.js'
import {missing, systemPath, TestNetwork} from './network.js'
import {fillRegistries} from './registries.js'

/** Programs as people run them, against fakes of their registries: what docs/guide/clients.md lists. */
const reason = await missing()
const describeHere = reason === undefined ? describe : describe.skip
if (reason !== undefined) test(`skipped: ${reason}`, () => undefined)

const go = '/usr/local/go/bin/go'
const has = async (program: string) =>
  (await processRunner.run({argv: ['sh', '-c', `command -v ${program}`], env: {PATH: systemPath}})).code === 0
const here = {
  npm: await has('npm'),
  wget: await has('wget'),
  java: (await has('java')) && (await has('javac')),
  pip: (await processRunner.run({argv: ['/usr/bin/python3', '-m', 'pip', '--version']})).code === 0,
  go: existsSync(go),
}
const when = (there: boolean) => (there ? test : test.skip)

const none = {presets: [], allow: [], deny: [], audit: [], routes: []}
let network: TestNetwork
let env: Record<string, string>
beforeAll(async () => {
  if (reason !== undefined) return
  network = await TestNetwork.create()
  await network.fence()
  network.writeGrant({rules: compileRules(none, ['npm', 'pypi', 'go', 'anthropic'])})
  await network.startSidecar()
  await fillRegistries(network)
  // What the pod's environment says; see docs/guide/clients.md.
  env = {
    NODE_EXTRA_CA_CERTS: network.caFile,
    SSL_CERT_FILE: network.caFile,
    PIP_CERT: network.caFile,
    REQUESTS_CA_BUNDLE: network.caFile,
    CURL_CA_BUNDLE: network.caFile,
    // This computer's own settings may name other roots; a pod has none.
    npm_config_globalconfig: '/dev/null',
    JAVA_TOOL_OPTIONS: `-Djavax.net.ssl.trustStore=${network.path('trust/truststore.p12')} -Djavax.net.ssl.trustStorePassword=changeit`,
  }
})
afterAll(async () => {
  if (reason === undefined) await network.destroy()
})
beforeEach(() => void network.seen())

const run = (argv: readonly string[], more: Record<string, string> = {}) =>
  network.agent(argv, {env: {...env, ...more}, timeoutMs: 90_000})
const arrived = () => network.seen().filter(({place}) => place === 'public')

describeHere('through the sidecar', () => {
  when(here.npm)('npm installs and cannot publish', async () => {
    const install = await run([
      'npm',
      'install',
      '--prefix',
      network.path('agent/app'),
      '--no-audit',
      '--no-fund',
      'tiny',
    ])
    expect([install.code, install.stderr]).toEqual([0, expect.anything()])
    expect(arrived().map(({url}) => url)).toEqual(expect.arrayContaining(['/tiny', '/tiny/-/tiny-1.0.0.tgz']))
    const folder = network.path('mine')
    mkdirSync(folder)
    writeFileSync(`${folder}/package.json`, '{"name":"tiny","version":"1.0.1"}')
    writeFileSync(network.path('agent/.npmrc'), '//registry.npmjs.org/:_authToken=abcdefgh\n')
    const publishing = await run(['npm', 'publish', folder, '--fetch-retries=0'])
    expect(publishing.stderr).toContain('403')
    expect(publishing.code).not.toBe(0)
    expect(arrived().filter(({method}) => method !== 'GET')).toEqual([])
    expect((await network.audit()).at(-1)).toMatchObject({decision: 'deny', reason: 'method_not_allowed'})
  })

  when(here.pip)('pip downloads', async () => {
    const argv = [
      '/usr/bin/python3',
      '-m',
      'pip',
      'download',
      '--no-deps',
      '-d',
      network.path('agent/wheels'),
      'tiny',
    ]
    expect([(await run(argv)).code, arrived().map(({method}) => method)]).toEqual([0, ['GET', 'GET']])
  })

  when(here.go)('go downloads modules', async () => {
    const folder = network.path('agent/module')
    const script = `mkdir -p ${folder} && cd ${folder} && ${go} mod init example && ${go} get go.example/tiny@v1.0.0`
    const more = {
      GONOSUMDB: '*',
      GOFLAGS: '-modcacherw',
      GOTOOLCHAIN: 'local',
    }
    const {code, stderr} = await run(['sh', '-c', script], more)
    expect([code, stderr]).toEqual([0, expect.stringContaining('added go.example/tiny v1.0.0')])
  })

  when(here.wget)('wget reads', async () => {
    const argv = [
      'wget',
      '-q',
      '-O',
      '-',
      `--ca-certificate=${network.caFile}`,
      'https://pypi.org/simple/tiny/',
    ]
    expect((await run(argv)).stdout.toString()).toContain('tiny-1.0.0')
  })

  test('Python without libraries reads', async () => {
    const script = `import urllib.request as u; print(u.urlopen('https://pypi.org/simple/tiny/').read().decode())`
    expect((await run(['python3', '-c', script])).stdout.toString()).toContain('tiny-1.0.0')
  })

  test('fetch of Node reads a stream event by event', async () => {
    const script = `
      const body = JSON.stringify({model: 'claude-haiku-4-5', max_tokens: 20, stream: true, messages: [{role: 'user', content: 'hi'}]})
      const answer = await fetch('https://api.anthropic.com/v1/messages', {method: 'POST', body, headers: {'x-fake': '{"holdMs":600}'}})
      const moments = []
      for await (const chunk of answer.body) moments.push(Date.now())
      console.log(moments.at(-1) - moments[0])`
    const {stdout, stderr} = await run([process.execPath, '--input-type=module', '-e', script])
    expect([Number(stdout.toString()) > 300, stderr]).toEqual([true, ''])
  })

  when(here.java)('Java reads with the trust store of the pod', async () => {
    const file = network.path('agent/Read.java')
    writeFileSync(
      file,
      `public class Read { public static void main(String[] a) throws Exception {
         System.out.println(new String(new java.net.URL("https://pypi.org/simple/tiny/").openStream().readAllBytes())); } }`,
    )
    chmodSync(file, 0o644)
    expect((await run(['java', file])).stdout.toString()).toContain('tiny-1.0.0')
  })
})
