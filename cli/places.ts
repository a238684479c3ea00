import {systemClock} from '../core/clock.js'
import {packageRoot} from '../core/package-root.js'
import {processRunner} from '../core/process.js'
import type {Places} from '../provision/provisioning.js'
import {homes, type Homes} from './environment.js'

/** Where everything is for this person on this computer. */
export function ownPlaces(own: Homes = homes()): Places {
  return {
    stateHome: own.state,
    cacheHome: own.cache,
    packageRoot: packageRoot(),
    runner: processRunner,
    clock: systemClock,
  }
}
