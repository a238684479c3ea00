import {Flags} from '@oclif/core'
import type {KeptBase} from '../../../provision/base-images.js'
import {BaseCommand} from '../../base-command.js'
import {ownPlaces} from '../../places.js'
import {bytes, table} from '../../ui/table.js'

export interface PrunedImage {
  name: string
  driver: string
  /** RFC 3339 */
  made: string
  /** bytes on this computer's disk */
  size: number
  state: KeptBase['state']
  removed: boolean
}

export default class ImagePrune extends BaseCommand<typeof ImagePrune> {
  static override summary = 'Remove base images of virtual machines that nothing needs any more'
  static override description =
    'A base image is a prepared machine without a project, which `cage up` keeps so that the next one starts in the time of a boot. Shows all of them and removes those that neither a guest nor the next `cage up` needs.'
  static override examples = [
    '<%= config.bin %> image prune --dry-run',
    '<%= config.bin %> image prune',
    '<%= config.bin %> image prune --all',
  ]
  static override flags = {
    'dry-run': Flags.boolean({description: 'only show what would be removed'}),
    all: Flags.boolean({description: 'also those that the next `cage up` would take; it makes them again'}),
  }

  public async run(): Promise<PrunedImage[]> {
    const {'dry-run': dry, all} = this.flags
    const {listBases, removeBase} = await import('../../../provision/base-images.js')
    const places = ownPlaces()
    const images: PrunedImage[] = []
    for (const base of await listBases(places)) {
      const {name, driver, made, size, state} = base
      const removed = !dry && goes(state, all)
      if (removed) await removeBase(places, base, {signal: this.interrupted, detail: () => undefined})
      images.push({name, driver, made, size, state, removed})
    }
    if (images.length === 0) this.log('No base image is kept on this computer.')
    else
      this.log(
        table(
          ['image', 'driver', 'made', 'size', 'state'],
          images.map((one) => row(one, this.flags)),
        ),
      )
    return images
  }
}

function goes(state: KeptBase['state'], all: boolean): boolean {
  return state === 'unused' || state === 'unfinished' || (all && state === 'current')
}

function row({name, driver, made, size, state, removed}: PrunedImage, {all}: {all: boolean}): string[] {
  const what = removed ? `${state}, removed` : goes(state, all) ? `${state}, would be removed` : state
  return [name, driver, made.slice(0, 16).replace('T', ' '), bytes(size), what]
}
