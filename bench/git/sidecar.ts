import {spawn, type ChildProcess} from 'node:child_process'
import {once} from 'node:events'
import {chmodSync, mkdirSync, writeFileSync} from 'node:fs'
import {build} from 'esbuild'
import {signGrant} from '../../policy/sign.js'
import type {TestDispatcher, TestTask} from '../../test/support/dispatcher.js'
import {egressGrant} from '../../test/support/grants.js'

/** The sidecar of one task beside the test dispatcher, on its fixed ports; `hosts` lead to the dispatcher. */
export async function startSidecar(
  door: TestDispatcher,
  task: TestTask,
  hosts: string[],
): Promise<ChildProcess> {
  const folder = door.box.path('sidecar')
  for (const name of ['grant', 'state', 'ledger', 'trust']) mkdirSync(`${folder}/${name}`, {recursive: true})
  chmodSync(folder, 0o755)
  const {project, revision} = task.grant
  const dispatcher = {
    // a sidecar dials no loopback
    address: '10.99.0.1',
    port: door.port,
    ca: door.certificate.toString(),
    hosts,
  }
  const egress = egressGrant({task: task.name, project, revision, dispatcher, resolver: []})
  const parts = signGrant(
    {project, task: task.name, revision, handle: task.handle, egress, git: task.grant},
    door.key.privateKeyPem,
  )
  if (door.control({op: 'document.put', part: parts.git}).code !== 0) throw new Error('document.put')
  writeFileSync(`${folder}/grant/egress.json`, JSON.stringify(parts.egress))
  writeFileSync(`${folder}/grant/credentials.json`, '{}')
  writeFileSync(`${folder}/grant/handle`, task.handle)
  writeFileSync(`${folder}/grant-key`, door.key.publicKeyDer)
  writeFileSync(`${folder}/roots.pem`, door.certificate)
  await build({
    bundle: true,
    entryPoints: ['test/integration/proxy/program.ts'],
    format: 'esm',
    logLevel: 'error',
    outfile: `${folder}/program.mjs`,
    platform: 'node',
    target: 'node20',
    banner: {js: "import {createRequire as make} from 'node:module';const require = make(import.meta.url)"},
  })
  const sidecar = spawn(process.execPath, [`${folder}/program.mjs`, 'serve', folder], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  await Promise.race([
    once(sidecar.stdout, 'data'),
    once(sidecar, 'exit').then(() => Promise.reject(new Error('the sidecar did not start'))),
  ])
  return sidecar
}
