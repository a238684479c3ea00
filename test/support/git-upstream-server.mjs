// A git server of somebody else: `git http-backend` behind TLS and a token check. A process of its own, so that tests may wait
// for programs. Arguments: FOLDER TOKEN ADDRESS. FOLDER has root/ (repositories), tls.crt, tls.key, faults.json; `seen` is written there.
import {spawn} from 'node:child_process'
import {appendFileSync, existsSync, readFileSync} from 'node:fs'
import {createServer} from 'node:https'
import {setTimeout as sleep} from 'node:timers/promises'

const [folder, token, address] = process.argv.slice(2)
const file = (name) => readFileSync(`${folder}/${name}`)

function isKnown(authorization = '', bearer) {
  if (bearer) return authorization === `Bearer ${token}`
  const [scheme, value = ''] = authorization.split(' ')
  return scheme === 'Basic' && Buffer.from(value, 'base64').toString().split(':')[1] === token
}

async function answer(request, response) {
  const faults = JSON.parse(file('faults.json').toString())
  appendFileSync(`${folder}/seen`, `${request.method} ${request.url}\n`)
  if (faults.delay > 0) await sleep(faults.delay)
  if (faults.status) {
    request.resume()
    response
      .writeHead(faults.status, faults.status < 400 ? {location: 'https://elsewhere.example.com/'} : {})
      .end()
    return
  }
  if (request.url.startsWith('/lfs-store/')) {
    const isSigned = request.headers.authorization === 'LFS signed'
    response.writeHead(isSigned ? 200 : 403).end(isSigned ? file(`lfs/${request.url.slice(11)}`) : '')
    return
  }
  if (!isKnown(request.headers.authorization, faults.bearer)) {
    request.resume()
    response.writeHead(401, {'www-authenticate': faults.bearer ? 'Bearer' : 'Basic realm="forge"'}).end()
    return
  }
  if (request.url.includes('/info/lfs/')) return lfsBatch(request, response, faults.lfsHref)
  const isPush = request.method === 'POST' && request.url.endsWith('/git-receive-pack')
  if (isPush && faults.dropBeforePush) request.destroy()
  else await backend(request, response, isPush || faults.echoes === 'always' ? faults : {})
}

/** Git LFS, for reading: objects are in FOLDER/lfs, and each is handed out for a header that stands in for a signature. */
async function lfsBatch(request, response, href = 'https://forge.example.com/lfs-store') {
  const chunks = []
  for await (const chunk of request) chunks.push(chunk)
  const {operation, objects} = JSON.parse(Buffer.concat(chunks).toString())
  appendFileSync(`${folder}/seen`, `LFS ${operation}\n`)
  const answers = objects.map(({oid, size}) =>
    existsSync(`${folder}/lfs/${oid}`)
      ? {oid, size, actions: {download: {href: `${href}/${oid}`, header: {Authorization: 'LFS signed'}}}}
      : {oid, size, error: {code: 404, message: 'not here'}},
  )
  response.writeHead(200, {'content-type': 'application/vnd.git-lfs+json'})
  // Gitea hands the credential back to whoever asked.
  response.end(JSON.stringify({transfer: 'basic', objects: answers, you: request.headers.authorization}))
}

async function backend(request, response, {dropAfterPush, echoes}) {
  const url = new URL(request.url, 'https://forge.example.com')
  const header = (name) => request.headers[name] ?? ''
  const child = spawn('git', ['http-backend'], {
    env: {
      PATH: process.env.PATH,
      HOME: folder,
      GIT_CONFIG_NOSYSTEM: '1',
      CONTENT_TYPE: header('content-type'),
      GIT_HTTP_EXPORT_ALL: '1',
      GIT_PROJECT_ROOT: `${folder}/root`,
      GIT_PROTOCOL: header('git-protocol'),
      HTTP_CONTENT_ENCODING: header('content-encoding'),
      PATH_INFO: url.pathname,
      QUERY_STRING: url.search.slice(1),
      REMOTE_ADDR: '127.0.0.1',
      REMOTE_USER: 'somebody',
      REQUEST_METHOD: request.method,
      ...(request.headers['content-length'] ? {CONTENT_LENGTH: header('content-length')} : {}),
    },
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  child.stdin.on('error', () => undefined)
  request.pipe(child.stdin)
  let head = Buffer.alloc(0)
  let isOpen = false
  for await (const chunk of child.stdout) {
    if (isOpen) {
      if (!dropAfterPush) response.write(chunk)
      continue
    }
    head = Buffer.concat([head, chunk])
    const end = head.indexOf('\r\n\r\n')
    if (end < 0) continue
    isOpen = true
    if (dropAfterPush) continue
    const lines = head.toString('latin1', 0, end).split('\r\n')
    const status = Number(/^Status: (\d+)/m.exec(lines.join('\n'))?.[1] ?? 200)
    const headers = lines.filter((line) => !line.startsWith('Status:')).map((line) => line.split(': '))
    response.writeHead(status, Object.fromEntries(headers))
    if (echoes) {
      const text = `\x02you are ${header('authorization')} ${token}\n`
      response.write((text.length + 4).toString(16).padStart(4, '0') + text)
    }
    response.write(head.subarray(end + 4))
  }
  if (dropAfterPush) request.socket.destroy()
  else response.end()
}

const server = createServer({cert: file('tls.crt'), key: file('tls.key')}, (request, response) => {
  answer(request, response).catch(() => response.destroy())
})
server.requestTimeout = 0
server.listen(0, address, () => process.stdout.write(`${server.address().port}\n`))
