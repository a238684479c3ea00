/** The origin: nginx with TLS and HTTP/2, and behind it one process that sends events. All in a network of its own. */
import {mkdirSync, writeFileSync} from 'node:fs'
import {createServer} from 'node:http'
import {join} from 'node:path'
import {createAuthority, issueServer, parseAuthority} from '../../core/certificates/authority.js'

export const originHost = 'origin.test'
export const originAddress = '192.168.213.1'
const EVENTS_PORT = 9081
export const GIT_PORT = 9082
const EVENTS = 60
const EVERY_MS = 20

export interface OriginFiles {
  /** PEM of the CA that signed the origin's certificate */
  ca: string
  config: string
}

export function writeOrigin(directory: string): OriginFiles {
  const authority = createAuthority('bench origin', Date.now())
  const {key, certificate} = issueServer(parseAuthority(authority), originHost, Date.now(), 2)
  const ca = join(directory, 'origin-ca.pem')
  const config = join(directory, 'nginx.conf')
  const root = join(directory, 'www')
  mkdirSync(root, {recursive: true})
  writeFileSync(ca, parseAuthority(authority).certificate)
  writeFileSync(join(directory, 'origin.pem'), certificate)
  writeFileSync(join(directory, 'origin.key'), key)
  writeFileSync(join(root, 'small'), 'x'.repeat(1024))
  writeFileSync(join(root, 'large'), Buffer.alloc(100_000_000, 'some text that is no secret at all '))
  writeFileSync(join(directory, 'hosts'), `127.0.0.1 localhost\n${originAddress} ${originHost}\n`)
  writeFileSync(
    config,
    `daemon off; worker_processes 1; user root; pid ${directory}/nginx.pid; error_log ${directory}/nginx.log crit;
events { worker_connections 4096; }
http {
  access_log off; sendfile on; tcp_nodelay on; keepalive_requests 100000000; keepalive_timeout 300s;
  client_max_body_size 0; client_body_buffer_size 64m; ssl_protocols TLSv1.2 TLSv1.3; ssl_session_cache shared:S:10m;
  client_body_temp_path ${directory}/body; proxy_temp_path ${directory}/proxied; fastcgi_temp_path ${directory}/f;
  uwsgi_temp_path ${directory}/u; scgi_temp_path ${directory}/s; default_type text/plain;
  server {
    listen ${originAddress}:443 ssl http2; server_name ${originHost};
    ssl_certificate ${directory}/origin.pem; ssl_certificate_key ${directory}/origin.key;
    root ${root};
    location /upload {
      proxy_pass http://127.0.0.1:9080; proxy_http_version 1.1; proxy_pass_request_body off;
      proxy_set_header Content-Length "";
    }
    location /git/ { proxy_pass http://127.0.0.1:${GIT_PORT}; proxy_buffering off; proxy_http_version 1.1; }
    location /events { proxy_pass http://127.0.0.1:${EVENTS_PORT}; proxy_buffering off; proxy_http_version 1.1; }
  }
  server { listen 127.0.0.1:9080; location / { return 200 "ok"; } }
}
`,
  )
  return {ca, config}
}

/** Server-sent events that say when they were sent, in nanoseconds of the computer's clock. */
export function serveEvents(): void {
  createServer((_request, response) => {
    response.writeHead(200, {'content-type': 'text/event-stream', connection: 'close'}).flushHeaders()
    let left = EVENTS
    const timer = setInterval(() => {
      response.write(`data: ${process.hrtime.bigint()}\n\n`)
      if (--left > 0) return
      clearInterval(timer)
      response.end()
    }, EVERY_MS)
  }).listen(EVENTS_PORT, '127.0.0.1', () => process.stdout.write('ready\n'))
}
