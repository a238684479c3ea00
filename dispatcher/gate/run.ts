import {readFile} from 'node:fs/promises'
import type {Server} from 'node:net'
import {join} from 'node:path'
import type {Clock} from '../../core/clock.js'
import type {StoredDocument} from '../socket-api.js'
import {ApiClient} from '../github/api-client.js'
import {ApiGateway} from '../github/gateway.js'
import {Connections} from './connections.js'
import {serveControl} from './control.js'
import {Documents, type DocumentStore} from './documents.js'
import {SocketClient} from '../socket-client.js'
import {identityOf} from './github-settings.js'
import {createHealth} from './health.js'
import {createGate} from './server.js'
import {UpstreamClient} from './upstream-client.js'
import {OpenPushes, serveUpstreams} from './upstream-socket.js'
import {Upstreams} from './upstreams.js'

export interface GateRun {
  /** SPKI DER of the project's Ed25519 key */
  grantKey: Buffer
  /** `<project>-<8 hex>` */
  project: string
  /** directory with tls.crt and tls.key */
  tls: string
  gitSocket: string
  /** on which the `git` container asks for upstreams */
  gateSocket: string
  controlSocket: string
  stateDirectory: string
  port: number
  healthPort: number
  clock: Clock
  log: (text: string) => void
}

const RETRY_MS = 250

/** Opens the door: first the documents, checked again, then the listeners. */
export async function runGate(run: GateRun): Promise<void> {
  const git = new SocketClient(run.gitSocket, 'git')
  let open = false
  await listen(
    createHealth(git, () => open),
    run.healthPort,
  )
  const documents = new Documents(run.grantKey, run.project, storeBehind(git), run.stateDirectory)
  await loadDocuments(documents, git, run)
  const {clock, log} = run
  const upstreams: Upstreams = new Upstreams(
    (settings) => identityOf(settings, api, clock),
    async ({name, of}) => {
      await git.json({
        method: 'PUT',
        path: `/forks/${encodeURIComponent(name)}`,
        body: JSON.stringify({of}),
      })
    },
  )
  const connections = new Connections(upstreams)
  const api: ApiClient = new ApiClient(
    (way) => connections.agentOf(way),
    (host) => upstreams.wayTo(host),
  )
  const upstream = new UpstreamClient(upstreams, connections)
  const github = new ApiGateway({
    api,
    identity: () => upstreams.github,
    scan: (texts) => git.json({method: 'POST', path: '/scan', body: JSON.stringify({texts})}),
    record: (entry) => git.json({method: 'POST', path: '/journal', body: JSON.stringify(entry)}),
    clock,
    log,
  })
  const pushes = new OpenPushes()
  const [certificate, key] = await Promise.all([
    readFile(join(run.tls, 'tls.crt')),
    readFile(join(run.tls, 'tls.key')),
  ])
  await serveUpstreams(run.gateSocket, {client: upstream, upstreams, pushes, log: run.log})
  await serveControl(run.controlSocket, {documents, upstreams, git})
  await listen(
    createGate({certificate, key, documents, git, upstream, github, api, pushes, clock, log}),
    run.port,
  )
  open = true
  run.log(`open on port ${run.port} with ${documents.list().length} documents`)
}

/** The other container of the pod may start later: waits for it, and reports what it refuses to believe. */
async function loadDocuments(documents: Documents, git: SocketClient, {clock, log}: GateRun): Promise<void> {
  for (let attempt = 0; ; attempt++) {
    try {
      await git.json({method: 'GET', path: '/health'})
      break
    } catch {
      if (attempt % 40 === 0) log('waiting for the git container')
      await clock.sleep(RETRY_MS)
    }
  }
  for (const {task, reason} of await documents.load()) {
    log(`the document of task ${task} is not used: ${reason}`)
    const record = {phase: 'decision', op: 'document.load', decision: 'deny', task, reason: [reason]}
    await git.json({method: 'POST', path: '/journal', body: JSON.stringify(record)})
  }
}

function storeBehind(git: SocketClient): DocumentStore {
  return {
    list: () => git.json<StoredDocument[]>({method: 'GET', path: '/documents'}),
    put: async (task, text) => {
      await git.json({method: 'PUT', path: `/documents/${task}`, body: text})
    },
    remove: async (task) => {
      await git.json({method: 'DELETE', path: `/documents/${task}`})
    },
  }
}

function listen(server: Server, port: number): Promise<void> {
  return new Promise((resolve, reject) => server.once('error', reject).listen(port, resolve))
}
