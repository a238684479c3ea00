import {afterEach, beforeEach, describe, expect, it} from '@jest/globals'
import type {Machine, MachineState, MachineWork} from '../../provision/machine/machine.js'

export interface MachineUnderTest {
  machine: Machine
  /** what the world around it does by itself */
  hurt: {
    /** the node ends without being asked: power, kill */
    powerOff(): Promise<void>
    /** its way to the network dies */
    loseWayOut(): Promise<void>
    /** the next start comes to nothing */
    failStart(): void
  }
  /** the same machine as another process of cage sees it, with everything it had in memory gone */
  again(): Machine
  /** names of everything that is left of it */
  left(): Promise<string[]>
  clean(): Promise<void>
}

/** What every driver keeps, see the MUST words of `Machine`; the world around it is made of fakes. */
export function machineContract(name: string, make: () => Promise<MachineUnderTest>): void {
  describe(`the contract of a machine: ${name}`, () => {
    let it_: MachineUnderTest
    const said: string[] = []
    const work: MachineWork = {
      signal: new AbortController().signal,
      detail: (text) => said.push(text),
    }
    beforeEach(async () => {
      it_ = await make()
    })
    afterEach(() => it_.clean())
    const made = async () => {
      await it_.machine.create(work)
      await it_.machine.start(work)
    }

    it('goes from absent to running to stopped to absent', async () => {
      const seen: MachineState[] = [await it_.machine.state()]
      await made()
      seen.push(await it_.machine.state())
      await it_.machine.stop(work)
      seen.push(await it_.machine.state())
      await it_.machine.start(work)
      await it_.machine.destroy(work)
      seen.push(await it_.machine.state())
      expect(seen).toEqual(['absent', 'running', 'stopped', 'absent'])
      expect(await it_.left()).toEqual([])
    })

    it('changes nothing when it is asked for what is there already', async () => {
      await made()
      await made()
      expect(await it_.machine.state()).toBe('running')
      await it_.machine.stop(work)
      await it_.machine.stop(work)
      expect(await it_.machine.state()).toBe('stopped')
      await it_.machine.destroy(work)
      await it_.machine.destroy(work)
      expect(await it_.machine.state()).toBe('absent')
    })

    it('does nothing for a stop of what was never made', async () => {
      await it_.machine.stop(work)
      expect(await it_.machine.state()).toBe('absent')
    })

    it('comes back after its power was cut', async () => {
      await made()
      await it_.hurt.powerOff()
      expect(await it_.machine.state()).toBe('stopped')
      await it_.machine.start(work)
      expect(await it_.machine.state()).toBe('running')
    })

    it('is broken without its way out, and a start repairs that', async () => {
      await made()
      await it_.hurt.loseWayOut()
      expect(await it_.machine.state()).toBe('broken')
      await it_.machine.start(work)
      expect(await it_.machine.state()).toBe('running')
    })

    it('says what the node said when it does not start, and can be removed then', async () => {
      await it_.machine.create(work)
      it_.hurt.failStart()
      await expect(it_.machine.start(work)).rejects.toMatchObject({
        code: 'MACHINE_NOT_STARTED',
        message: expect.stringContaining('mount: no overlay'),
        hints: [expect.stringContaining('node.log'), expect.any(String)],
      })
      await it_.machine.destroy(work)
      expect(await it_.left()).toEqual([])
    })

    it('is found again by a process that remembers nothing', async () => {
      await made()
      expect(await it_.again().state()).toBe('running')
      expect(await it_.again().facts()).toEqual(await it_.machine.facts())
    })

    it('is reached where its API server answers', async () => {
      await made()
      const {host, port} = await it_.machine.api()
      expect(host).toMatch(/^\d+\.\d+\.\d+\.\d+$/)
      expect(port).toBeGreaterThan(0)
      await it_.machine.close()
      await it_.machine.close()
    })
  })
}
