import {join} from 'node:path'
import type {Clock} from '../../core/clock.js'
import {CageError} from '../../core/errors.js'
import type {Runner} from '../../core/runner.js'
import {demandAll, imageBuildChecks} from '../doctor.js'
import {digestOf, imageDocuments, type BuiltLayer} from '../images/archive.js'
import type {Architecture, UpstreamKind} from '../images/description.js'
import {haveLayers, provideLayers, tidyCache} from '../images/layers.js'
import {planImages, type ImagePlan} from '../images/plan.js'
import type {Step, StepTools} from '../pipeline.js'
import type {Registry} from '../registry/client.js'
import type {Transport} from '../transport/transport.js'

export interface PushStepContext {
  /** the package root: the folder that holds `images` and `dist` */
  root: string
  /** folder for layers of all projects of this computer, e.g. `$XDG_CACHE_HOME/cage/images` */
  cache: string
  architecture: Architecture
  /** GitHub asks for a client in the agent's image */
  upstream: UpstreamKind
  registry: () => Promise<Registry>
  /** this computer itself: there is no machine to build on */
  transport: Transport
  uid: number
  runner: Runner
  clock: Clock
}

/** Images agent, proxy and dispatcher are in the registry under the tags of their plans. */
export function pushStep(context: PushStepContext): Step {
  let planned: Promise<ImagePlan[]> | undefined
  const plans = () => (planned ??= planImages(context.root, context.architecture, context.upstream))
  const missing = async ({signal}: StepTools) => {
    const registry = await context.registry()
    const there = await Promise.all(
      (await plans()).map((plan) => registry.hasManifest(plan.name, tagOf(plan), signal)),
    )
    return (await plans()).filter((_, index) => !there[index])
  }
  return {
    name: 'images',
    deadlineMs: 60 * 60_000,
    hints: ['Run `cage doctor`, then `cage up` again.'],
    check: async (work) => (await missing(work)).length === 0,
    async act(work) {
      const images = await missing(work)
      const wanted = images.flatMap(({layers}) => layers)
      if (!(await haveLayers(wanted, context.cache)))
        demandAll(await imageBuildChecks(context.runner, context.uid, process.platform))
      const buildFolder = join(context.cache, 'debian')
      const layers = await provideLayers(wanted, {...context, buildFolder, work})
      for (const image of images) await push(image, layers, context, work)
      const inUse = (await plans()).flatMap((image) => image.layers.map(({key}) => key))
      await tidyCache(context.cache, inUse, context.clock.now())
      return images.map(({name}) => name).join(', ')
    },
  }
}

/** Layers first, manifest last: an image that can be pulled is whole. */
async function push(
  image: ImagePlan,
  built: ReadonlyMap<string, BuiltLayer>,
  context: PushStepContext,
  {signal, detail}: StepTools,
): Promise<void> {
  const {name} = image
  const registry = await context.registry()
  const layers = image.layers.map(({key}) => {
    const layer = built.get(key)
    if (layer) return layer
    throw new CageError(`a layer of image ${name} vanished from the cache`, {
      code: 'IMAGE_LAYER_LOST',
      hints: ['Run `cage up` again: it builds the layer again.'],
    })
  })
  const {config, manifest} = imageDocuments(image, layers, context.architecture)
  for (const [index, layer] of layers.entries()) {
    detail(`${name}: layer ${index + 1} of ${layers.length}, ${Math.ceil(layer.size / 1e6)} MB`)
    if (!(await registry.hasBlob(name, digestOf(layer), signal)))
      await registry.putBlob(name, digestOf(layer), layer, signal)
  }
  await registry.putBlob(name, config.descriptor.digest, config.content, signal)
  await registry.putManifest(name, tagOf(image), manifest.content, signal)
}

function tagOf({reference}: ImagePlan): string {
  return reference.slice(reference.lastIndexOf(':') + 1)
}
