import {it} from '@jest/globals'

type Test = () => Promise<void> | void

/**
 * A test that needs something of this computer: `obstacle` is undefined when it is there, else the reason.
 * Skipped tests carry the reason in their name, and scripts/test prints it.
 */
export function itUnless(obstacle: string | undefined, name: string, test: Test, timeoutMs?: number): void {
  if (obstacle === undefined) it(name, test, timeoutMs)
  else it.skip(`${name} (skipped: ${obstacle})`, test)
}
