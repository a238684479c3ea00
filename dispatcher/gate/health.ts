import {createServer, type Server} from 'node:http'
import type {SocketClient} from '../socket-client.js'

/**
 * Health over plain HTTP for the kubelet: `/livez` while the process answers, `/startupz` once the door is open,
 * `/readyz` while the `git` container answers too.
 */
export function createHealth(git: SocketClient, isOpen: () => boolean): Server {
  return createServer((request, response) => {
    const say = (ok: boolean) =>
      response.writeHead(ok ? 200 : 503, {'content-type': 'text/plain'}).end(ok ? 'ok\n' : 'not yet\n')
    switch (request.url) {
      case '/livez':
        say(true)
        break
      case '/startupz':
        say(isOpen())
        break
      case '/readyz':
        git.json({method: 'GET', path: '/health'}).then(
          () => say(isOpen()),
          () => say(false),
        )
        break
      default:
        response.writeHead(404).end()
    }
  })
}
