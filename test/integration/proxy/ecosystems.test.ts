import {mkdirSync, writeFileSync} from 'node:fs'
import {afterAll, beforeAll, beforeEach, describe, expect, test} from '@jest/globals'
import {processRunner} from '../../../core/process.js'
import {trustPath} from '../../../core/layout.js'
import {trustVariables} from '../../../manifests/trust.js'
import {compileRules} from '../../../policy/compile.js'
import {python, testClients, testPythonClients} from '../../support/clients.js'
import {missing, systemPath, TestNetwork} from './network.js'
import {fillRegistries} from './registries.js'

/** Package managers, runtimes, SDKs and agents with the trust of a pod and nothing else: what docs/guide/clients.md lists. */
const reason = await missing()
const describeHere = reason === undefined ? describe : describe.skip
if (reason !== undefined) test(`skipped: ${reason}`, () => undefined)

const programs = reason === undefined ? await testClients() : {missing: reason}
if ('missing' in programs) test(`skipped: ${programs.missing}`, () => undefined)
const modules = 'modules' in programs ? programs.modules : ''
const bin = (name: string) => `${modules}/.bin/${name}`
// The package's own program only asks for an installation script to be run.
const bun = `${modules}/@oven/bun-linux-x64/bin/bun`
const whenFetched = modules === '' ? test.skip : test
const forPython = reason === undefined ? await testPythonClients() : {missing: reason}
if ('missing' in forPython) test(`skipped: ${forPython.missing}`, () => undefined)
const pythonPath = 'modules' in forPython ? {PYTHONPATH: forPython.modules} : undefined
const whenPython = pythonPath ? test : test.skip

const found = async (program: string) =>
  (await processRunner.run({argv: ['sh', '-c', `command -v ${program}`], env: {PATH: systemPath}})).code === 0
const here = {
  cargo: await found('cargo'),
  mvn: await found('mvn'),
  uv: await found('uv'),
  apt: (await found('apt-get')) && (await found('dpkg-deb')),
  chromium: (await found('chromium')) && (await found('certutil')),
}
const when = (program: keyof typeof here) => (here[program] ? test : test.skip)
for (const [program, isHere] of Object.entries(here))
  if (!isHere) test(`skipped: ${program} is not on this computer`, () => undefined)

const none = {presets: [], allow: [], deny: [], audit: [], routes: []}
const presets = ['npm', 'pypi', 'crates', 'maven', 'debian', 'anthropic', 'openai']
let network: TestNetwork
let env: Record<string, string>
beforeAll(async () => {
  if (reason !== undefined) return
  network = await TestNetwork.create()
  await network.fence()
  network.writeGrant({rules: compileRules(none, presets)})
  await network.startSidecar()
  await fillRegistries(network)
  env = Object.fromEntries(
    Object.entries(trustVariables).map(([name, value]) => [
      name,
      value.replaceAll(trustPath.dir, network.path('trust')),
    ]),
  )
}, 60_000)
afterAll(async () => {
  if (reason === undefined) await network.destroy()
})
beforeEach(() => void network.seen())

/** In an empty folder of the agent's, which is also its home. */
async function run(name: string, script: string, more: Record<string, string> = {}) {
  const folder = network.path('agent', name)
  const all = {...env, HOME: folder, CI: '1', ...more}
  const {code, stdout, stderr} = await network.agent(
    ['sh', '-c', `mkdir -p ${folder} && cd ${folder} && ${script}`],
    {env: all, timeoutMs: 90_000},
  )
  return {code, output: `${stdout.toString()}${stderr}`}
}
const asked = () =>
  network
    .seen()
    .filter(({place}) => place === 'public' || place === 'public-http')
    .map(({method, url}) => `${String(method)} ${String(url)}`)

function write(name: string, content: string): string {
  const folder = network.path('sources')
  mkdirSync(folder, {recursive: true})
  writeFileSync(`${folder}/${name}`, content)
  return `${folder}/${name}`
}

describeHere('package managers', () => {
  whenFetched('pnpm adds', async () => {
    const {code, output} = await run('pnpm', `${bin('pnpm')} add tiny`)
    expect([code, output]).toEqual([0, expect.stringContaining('tiny')])
    expect(asked()).toContain('GET /tiny/-/tiny-1.0.0.tgz')
  })

  whenFetched('Yarn 1 adds', async () => {
    const yarn = `${process.execPath} ${modules}/yarn/bin/yarn.js`
    const {code, output} = await run(
      'yarn1',
      `echo '{}' > package.json && ${yarn} add tiny && ls node_modules`,
    )
    expect([code, output]).toEqual([0, expect.stringContaining('tiny')])
    expect(asked()).toContain('GET /tiny/-/tiny-1.0.0.tgz')
  })

  whenFetched('Yarn 4 adds', async () => {
    const yarn = `${process.execPath} ${modules}/@yarnpkg/cli-dist/bin/yarn.js`
    const more = {
      YARN_NODE_LINKER: 'node-modules',
      YARN_ENABLE_IMMUTABLE_INSTALLS: 'false',
      YARN_ENABLE_TELEMETRY: '0',
    }
    const script = `echo '{}' > package.json && touch yarn.lock && ${yarn} add tiny && ls node_modules`
    const {code, output} = await run('yarn4', script, more)
    expect([code, output]).toEqual([0, expect.stringContaining('tiny')])
    expect(asked()).toContain('GET /tiny/-/tiny-1.0.0.tgz')
  })

  whenFetched('Bun adds', async () => {
    const {code, output} = await run('bun', `echo '{}' > package.json && ${bun} add tiny`)
    expect([code, output]).toEqual([0, expect.stringContaining('installed tiny')])
    expect(asked()).toContain('GET /tiny/-/tiny-1.0.0.tgz')
  })

  when('uv')('uv installs', async () => {
    const {code, output} = await run('uv', 'uv pip install --target out tiny')
    expect([code, output]).toEqual([0, expect.stringContaining('tiny==1.0.0')])
    expect(asked()).toContain('GET /tiny-1.0.0-py3-none-any.whl')
  })

  when('cargo')('cargo fetches', async () => {
    const manifest = '[package]\\nname = "a"\\nversion = "0.1.0"\\n[dependencies]\\ntiny = "1"\\n'
    const script = `mkdir src && touch src/lib.rs && printf '${manifest}' > Cargo.toml && cargo fetch`
    const {code, output} = await run('cargo', script)
    expect([code, output]).toEqual([0, expect.stringContaining('Downloaded tiny v1.0.0')])
    expect(asked()).toContain('GET /crates/tiny/1.0.0/download')
  })

  when('mvn')('Maven reads from Central', async () => {
    const pom = write(
      'pom.xml',
      `<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion><packaging>pom</packaging>
      <parent><groupId>example</groupId><artifactId>tiny</artifactId><version>1.0.0</version><relativePath/></parent>
      <artifactId>a</artifactId></project>`,
    )
    const {code, output} = await run('maven', `cp ${pom} . && mvn -B -Duser.home=$HOME validate`)
    expect([code, output]).toEqual([0, expect.stringContaining('BUILD SUCCESS')])
    expect(asked()).toContain('GET /maven2/example/tiny/1.0.0/tiny-1.0.0.pom')
  })

  when('apt').each(['http', 'https'])('apt downloads over %s', async (scheme) => {
    const folders = 'state/lists/partial cache/archives/partial etc/apt.conf.d etc/preferences.d log'
    const options = [
      'Dir=$HOME',
      'Dir::State=$HOME/state',
      'Dir::Cache=$HOME/cache',
      'Dir::Etc=$HOME/etc',
      'Dir::Log=$HOME/log',
      'APT::Architecture=amd64',
      'APT::Sandbox::User=',
      `Acquire::https::CAInfo=${env['SSL_CERT_FILE'] ?? ''}`,
    ]
    const apt = `apt-get ${options.map((option) => `-o ${option}`).join(' ')}`
    const source = `deb [trusted=yes] ${scheme}://deb.debian.org/debian stable main`
    const script = `mkdir -p ${folders} && touch state/status && echo '${source}' > etc/sources.list && ${apt} update && ${apt} download tiny && ls`
    const {code, output} = await run(`apt-${scheme}`, script)
    expect([code, output]).toEqual([0, expect.stringContaining('tiny_1.0.0_all.deb')])
    expect(asked()).toContain('GET /debian/pool/tiny_1.0.0_all.deb')
  })
})

const reading = `const answer = await fetch('https://pypi.org/simple/tiny/'); console.log(await answer.text())`

describeHere('runtimes and browsers', () => {
  whenFetched('Deno reads', async () => {
    const file = write('read.ts', reading)
    const {code, output} = await run('deno', `${bin('deno')} run --allow-net ${file}`)
    expect([code, output]).toEqual([0, expect.stringContaining('tiny-1.0.0')])
  })

  whenFetched('Bun reads', async () => {
    const {code, output} = await run('bun-fetch', `${bun} run ${write('read.mjs', reading)}`)
    expect([code, output]).toEqual([0, expect.stringContaining('tiny-1.0.0')])
  })

  when('chromium')('Chromium reads, once its own store of certificates knows the CA', async () => {
    const trust = `mkdir -p .pki/nssdb && certutil -d sql:.pki/nssdb -N --empty-password && certutil -d sql:.pki/nssdb -A -t C,, -n cage -i ${network.caFile}`
    const page = `chromium --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --dump-dom https://pypi.org/simple/tiny/`
    const {code, output} = await run('chromium', `${trust} && ${page}`)
    expect([code, output]).toEqual([0, expect.stringContaining('tiny-1.0.0')])
  })
})

describeHere('clients of models', () => {
  whenFetched('the SDK of Anthropic streams', async () => {
    const file = write(
      'anthropic.mjs',
      `import {createRequire} from 'node:module'
      const {Anthropic} = createRequire('${modules}/')('@anthropic-ai/sdk')
      const client = new Anthropic({apiKey: 'placeholder'})
      const options = {headers: {'x-fake': '{"words":["good"," day"]}'}}
      const ask = {model: 'claude-haiku-4-5', max_tokens: 20, stream: true, messages: [{role: 'user', content: 'hi'}]}
      for await (const {type, delta} of await client.messages.create(ask, options))
        if (type === 'content_block_delta') console.log(JSON.stringify(delta.text))`,
    )
    const {code, output} = await run('anthropic', `${process.execPath} ${file}`)
    expect([code, output]).toEqual([0, '"good"\n" day"\n'])
  })

  whenFetched('the SDK of OpenAI streams', async () => {
    const file = write(
      'openai.mjs',
      `import {createRequire} from 'node:module'
      const {OpenAI} = createRequire('${modules}/')('openai')
      const client = new OpenAI({apiKey: 'placeholder'})
      const stream = await client.chat.completions.create({model: 'gpt-5', stream: true, messages: [{role: 'user', content: 'hi'}]})
      for await (const {choices} of stream) console.log(choices[0].delta.content)`,
    )
    const {code, output} = await run('openai', `${process.execPath} ${file}`)
    expect([code, output]).toEqual([0, 'hello\n'])
  })

  whenPython('the Python SDK of Anthropic streams', async () => {
    const file = write(
      'anthropic_stream.py',
      `import anthropic
client = anthropic.Anthropic(api_key='placeholder')
ask = dict(model='claude-haiku-4-5', max_tokens=20, messages=[{'role': 'user', 'content': 'hi'}])
headers = {'x-fake': '{"words":["good"," day"]}'}
for event in client.messages.create(**ask, stream=True, extra_headers=headers):
    if event.type == 'content_block_delta': print(repr(event.delta.text))
`,
    )
    const {code, output} = await run('anthropic-python', `${python} ${file}`, pythonPath)
    expect([code, output]).toEqual([0, "'good'\n' day'\n"])
  })

  whenPython('the Python SDK of OpenAI streams', async () => {
    const file = write(
      'openai_stream.py',
      `import openai
client = openai.OpenAI(api_key='placeholder')
for chunk in client.chat.completions.create(model='gpt-5', stream=True, messages=[{'role': 'user', 'content': 'hi'}]):
    print(chunk.choices[0].delta.content)
`,
    )
    const {code, output} = await run('openai-python', `${python} ${file}`, pythonPath)
    expect([code, output]).toEqual([0, 'hello\n'])
  })

  whenFetched('Codex answers', async () => {
    const script = `mkdir .codex && ${bin('codex')} exec --skip-git-repo-check --dangerously-bypass-approvals-and-sandbox 'say hello'`
    const {code, output} = await run('codex', script, {
      OPENAI_API_KEY: 'placeholder',
      CODEX_API_KEY: 'placeholder',
    })
    expect([code, output]).toEqual([0, expect.stringContaining('codex\nhello')])
  })
})
