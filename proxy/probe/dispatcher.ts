import {readFileSync} from 'node:fs'
import {request} from 'node:https'
import {setTimeout as sleep} from 'node:timers/promises'
import {gitHost} from '../../core/layout.js'

const ATTEMPT_MS = 5000
const PAUSE_MS = 300

/** The one way out works: name, fence, sidecar, its certificate and the dispatcher behind it. */
export async function dispatcherAnswers(caPath: string, withinMs: number): Promise<string> {
  const deadline = Date.now() + withinMs
  for (;;) {
    const problem = await ready(caPath).catch((error: unknown) =>
      error instanceof Error ? error.message : String(error),
    )
    if (problem === undefined) return ''
    if (Date.now() > deadline) throw new Error(problem)
    await sleep(PAUSE_MS)
  }
}

/** What was wrong, or undefined. */
function ready(caPath: string): Promise<string | undefined> {
  return new Promise((resolve, reject) => {
    const ca = readFileSync(caPath)
    const asked = request(
      {host: gitHost, path: '/ready', ca, agent: false, timeout: ATTEMPT_MS},
      (response) => {
        let text = ''
        response.on('data', (chunk: Buffer) => (text += chunk.toString()))
        response.on('error', reject)
        response.on('end', () => {
          const {statusCode} = response
          resolve(statusCode === 200 ? undefined : `status ${statusCode ?? 0}: ${text.trim().slice(0, 300)}`)
        })
      },
    )
    asked.on('timeout', () => asked.destroy(new Error(`no answer in ${ATTEMPT_MS / 1000} s`)))
    asked.on('error', reject)
    asked.end()
  })
}
