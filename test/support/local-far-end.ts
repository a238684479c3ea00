import {spawn} from 'node:child_process'
import type {FarEnd} from '../../tasks/git/far-end.js'

/** A bare repository on this computer in the place of the dispatcher; stock git serves it. */
export function localFarEnd(repository: string, env: Record<string, string> = {}): FarEnd {
  return {
    name: 'the hosted repository shop.git',
    serve: (service, {stdin, stdout, stderr}) =>
      new Promise((resolve, reject) => {
        const child = spawn('git', [service, repository], {
          env: {
            PATH: process.env['PATH'] ?? '',
            ...(service === 'upload-pack' ? {GIT_PROTOCOL: 'version=2'} : {}),
            ...env,
          },
        })
        stdin.pipe(child.stdin)
        child.stdin.on('error', () => undefined)
        child.stdout.pipe(stdout, {end: false})
        child.stderr.pipe(stderr, {end: false})
        child.on('error', reject)
        child.on('close', (code) => resolve(code ?? 1))
      }),
  }
}
