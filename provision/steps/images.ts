import {Readable} from 'node:stream'
import {pipeline} from 'node:stream/promises'
import type {Clock} from '../../core/clock.js'
import {CageError, messageOf} from '../../core/errors.js'
import type {Runner} from '../../core/runner.js'
import {ociArchive, type BuiltLayer, type ImageArchive} from '../images/archive.js'
import type {Architecture, UpstreamKind} from '../images/description.js'
import {provideLayers, tidyCache} from '../images/layers.js'
import {planImages, type ImagePlan} from '../images/plan.js'
import type {Step, StepTools} from '../pipeline.js'
import type {Transport} from '../transport/transport.js'

/** On the machine. */
const buildFolder = '/var/lib/cage/build'

export interface ImagesStepContext {
  /** the package root: the folder that holds `images` and `dist` */
  root: string
  /** folder for layers of all projects of this computer, e.g. `$XDG_CACHE_HOME/cage/images` */
  cache: string
  architecture: Architecture
  /** of the project: programs that only one kind needs are in its images alone */
  upstream: UpstreamKind
  transport: Transport
  runner: Runner
  clock: Clock
}

/** Images agent, proxy and dispatcher are in the cluster under the references of `imageReferences`. */
export function imagesStep(context: ImagesStepContext): Step {
  let planned: Promise<ImagePlan[]> | undefined
  const plans = () => (planned ??= planImages(context.root, context.architecture, context.upstream))
  return {
    name: 'images',
    deadlineMs: 30 * 60_000,
    hints: ['Run `cage doctor`, then `cage up` again.'],
    async check(work) {
      return (await missingImages(await plans(), context.transport, work)).length === 0
    },
    async act(work) {
      const missing = await missingImages(await plans(), context.transport, work)
      const wanted = missing.flatMap(({layers}) => layers)
      const layers = await provideLayers(wanted, {...context, buildFolder, work})
      for (const image of missing) await importImage(image, layers, context, work)
      const inUse = (await plans()).flatMap((image) => image.layers.map(({key}) => key))
      await tidyCache(context.cache, inUse, context.clock.now())
      return missing.map(({name}) => name).join(', ')
    },
  }
}

/** Those that are not there whole and unpacked: an import may have been cut off. */
async function missingImages(
  plans: readonly ImagePlan[],
  transport: Transport,
  {signal}: StepTools,
): Promise<ImagePlan[]> {
  const argv = ['ctr', '--namespace', 'k8s.io', 'images', 'check'] as const
  const {code, stdout, stderr} = await transport.run({argv, signal})
  if (code !== 0) {
    throw new CageError(`the container runtime does not list its images: ${stderr.trim()}`, {
      code: 'RUNTIME_NOT_READY',
      hints: ['Run `cage up` again: it repairs the machine first.'],
    })
  }
  const whole = stdout
    .toString()
    .split('\n')
    .map((line) => /^(\S+) .*\scomplete\s.*\strue\s*$/.exec(line)?.[1])
  return plans.filter(({reference}) => !whole.includes(reference))
}

async function importImage(
  image: ImagePlan,
  layers: ReadonlyMap<string, BuiltLayer>,
  {transport, architecture}: ImagesStepContext,
  work: StepTools,
): Promise<void> {
  const parts = image.layers.map(({key}) => {
    const layer = layers.get(key)
    if (layer) return layer
    throw new CageError(`a layer of image ${image.name} vanished from the cache`, {
      code: 'IMAGE_LAYER_LOST',
      hints: ['Run `cage up` again: it builds the layer again.'],
    })
  })
  const archive = ociArchive(image, parts, architecture, await presentLayers(transport, work))
  const running = await transport.start({
    argv: ['/usr/local/lib/cage/import-image.sh', image.reference],
    signal: work.signal,
  })
  let stderr = ''
  running.stderr.on('data', (chunk: Buffer) => (stderr = (stderr + chunk.toString()).slice(-4096)))
  running.stdout.resume()
  const poured = await pipeline(Readable.from(told(archive, image.name, work)), running.stdin).then(
    () => undefined,
    (cause: unknown) => cause,
  )
  const code = await running.exit
  if (code === 0 && poured === undefined) return
  const reason = stderr.trim().split('\n').slice(-3).join('\n') || messageOf(poured)
  throw new CageError(`image ${image.name} was not imported (exit code ${code}): ${reason}`, {
    code: 'IMAGE_IMPORT_FAILED',
    hints: ['Check the free space of the machine with `cage status`, then run `cage up` again.'],
    cause: poured,
  })
}

/** Digests of what the container runtime keeps; empty when it does not say, then everything travels. */
async function presentLayers(transport: Transport, {signal}: StepTools): Promise<ReadonlySet<string>> {
  const argv = ['ctr', '--namespace', 'k8s.io', 'content', 'ls', '--quiet'] as const
  const {code, stdout} = await transport.run({argv, signal})
  return new Set(code === 0 ? stdout.toString().trim().split('\n') : [])
}

async function* told({bytes, size}: ImageArchive, name: string, work: StepTools): AsyncGenerator<Buffer> {
  const total = Math.ceil(size / 1e6)
  let sent = 0
  let shown = -1
  for await (const chunk of bytes) {
    sent += chunk.length
    const tens = Math.floor(sent / 10e6)
    if (tens !== shown) work.detail(`${name}: ${tens * 10} of ${total} MB`)
    shown = tens
    yield chunk
  }
}
