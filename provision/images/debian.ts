import {readFile} from 'node:fs/promises'
import {join} from 'node:path'
import {CageError} from '../../core/errors.js'
import type {LayerTools} from './layers.js'
import {buildScripts, type LayerSource} from './plan.js'

/**
 * Builds a Debian layer on the machine and brings it here.
 * Errors: IMAGE_DEBIAN_FAILED with the last lines of the build.
 */
export async function buildDebianLayer(
  key: string,
  {packages, users}: Extract<LayerSource, {kind: 'debian'}>,
  {root, transport, buildFolder, work}: Pick<LayerTools, 'root' | 'transport' | 'buildFolder' | 'work'>,
): Promise<AsyncIterable<Buffer>> {
  const folder = `${buildFolder}/${key.slice(0, 16)}`
  // The scripts travel with each build: those on the machine may come from an older cage.
  for (const name of buildScripts) {
    await transport.writeFile(
      `${folder}/${name}`,
      await readFile(join(root, 'provision/guest', name)),
      '0755',
    )
  }
  const out = `${folder}/layer.tar`
  const accounts = users.map(({name, uid, home}) => `${name}:${uid}:${home}`).join(',')
  const {code, stderr} = await transport.run({
    argv: [`${folder}/build-image.sh`, out, accounts, ...packages],
    signal: work.signal,
    onOutput: (chunk) => {
      const line = chunk.toString().trim().split('\n').at(-1) ?? ''
      if (line !== '') work.detail(`debian: ${line.replace(/^I: /, '')}`)
    },
  })
  if (code !== 0) {
    throw new CageError(`the Debian packages of an image were not installed\n${lastLines(stderr)}`, {
      code: 'IMAGE_DEBIAN_FAILED',
      hints: [
        'Check that this computer reaches its Debian package sources (`apt-get update`), then run `cage up` again.',
      ],
    })
  }
  return fetchFile(out, folder, {transport, work})
}

async function* fetchFile(
  path: string,
  folder: string,
  {transport, work}: Pick<LayerTools, 'transport' | 'work'>,
): AsyncGenerator<Buffer> {
  const running = await transport.start({argv: ['cat', path], signal: work.signal})
  running.stdin.end()
  running.stderr.resume()
  for await (const chunk of running.stdout) yield chunk as Buffer
  const code = await running.exit
  if (code !== 0) {
    throw new CageError(`a built layer could not be read from the machine: ${path}`, {
      code: 'IMAGE_DEBIAN_FAILED',
    })
  }
  await transport.run({argv: ['rm', '-rf', folder], signal: work.signal})
}

function lastLines(text: string): string {
  return text.trim().split('\n').slice(-5).join('\n')
}
