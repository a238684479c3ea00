import {setTimeout as sleepTimer} from 'node:timers/promises'

/** Time as a dependency, so that tests do not wait. */
export interface Clock {
  /** milliseconds since the Unix epoch */
  now(): number
  sleep(ms: number, signal?: AbortSignal): Promise<void>
}

export const systemClock: Clock = {
  now: () => Date.now(),
  sleep: async (ms, signal) => {
    await sleepTimer(ms, undefined, signal ? {signal} : {})
  },
}
