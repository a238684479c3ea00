import {afterEach, beforeEach, describe, expect, it} from '@jest/globals'
import type {Machine, MachineState, MachineWork} from '../../provision/machine/machine.js'

const GIB = 1024 ** 3

/** One of a person's projects, as its settings describe it. */
export interface MachineSettings {
  id: string
  cpus: number
  memory: number
}

export interface MachineWorld {
  /** the machine of a project as a process of cage sees it that has just begun: nothing is in its memory */
  machine(settings: MachineSettings): Machine
  /** what the world around the first project does by itself */
  hurt: {
    /** the node ends without being asked: power, kill */
    powerOff(): Promise<void>
    /** its way to the network dies */
    loseWayOut(): Promise<void>
    /** the next start comes to nothing */
    failStart(): void | Promise<void>
    /** the project's folder on this computer is gone; absent where the machine itself lies in it */
    loseState?(): Promise<void>
  }
  /** the sizes with which a project runs */
  inForce(id: string): Promise<{cpus: number; memory: number} | undefined>
  /** what is said when a start comes to nothing */
  failure: {code: string; message: unknown}
  /** names of everything that is left of all projects */
  left(): Promise<string[]>
  clean(): Promise<void>
}

/** What every driver keeps, see the MUST words of `Machine`; the world around it is made of fakes. */
export function machineContract(name: string, make: () => Promise<MachineWorld>): void {
  describe(`the contract of a machine: ${name}`, () => {
    let world: MachineWorld
    let machine: Machine
    const first: MachineSettings = {id: 'shop-00000001', cpus: 4, memory: 8 * GIB}
    // The same name in another folder: another project.
    const second: MachineSettings = {...first, id: 'shop-00000002'}
    const work: MachineWork = {signal: new AbortController().signal, detail: () => undefined}
    const again = () => world.machine(first)
    beforeEach(async () => {
      world = await make()
      machine = world.machine(first)
    })
    afterEach(() => world.clean())
    const made = async (one = machine) => {
      await one.create(work)
      await one.start(work)
    }

    it('goes from absent to running to stopped to absent', async () => {
      const seen: MachineState[] = [await machine.state()]
      await made()
      seen.push(await machine.state())
      await machine.stop(work)
      seen.push(await machine.state())
      await machine.start(work)
      await machine.destroy(work)
      seen.push(await machine.state())
      expect(seen).toEqual(['absent', 'running', 'stopped', 'absent'])
      expect(await world.left()).toEqual([])
    })

    it('changes nothing when it is asked for what is there already', async () => {
      await made()
      await made()
      expect(await machine.state()).toBe('running')
      await machine.stop(work)
      await machine.stop(work)
      expect(await machine.state()).toBe('stopped')
      await machine.destroy(work)
      await machine.destroy(work)
      expect(await machine.state()).toBe('absent')
    })

    it('does nothing for a stop of what was never made', async () => {
      await machine.stop(work)
      expect(await machine.state()).toBe('absent')
    })

    it('comes back after its power was cut', async () => {
      await made()
      await world.hurt.powerOff()
      expect(await machine.state()).toBe('stopped')
      await machine.start(work)
      expect(await machine.state()).toBe('running')
    })

    it('is broken without its way out, and a start repairs that', async () => {
      await made()
      await world.hurt.loseWayOut()
      expect(await machine.state()).toBe('broken')
      await machine.start(work)
      expect(await machine.state()).toBe('running')
    })

    it('says what went wrong when it does not start, where to read more, and can be removed then', async () => {
      await machine.create(work)
      await world.hurt.failStart()
      await expect(machine.start(work)).rejects.toMatchObject({
        ...world.failure,
        hints: expect.arrayContaining([expect.stringMatching(/Read \S+\.log/)]),
      })
      await machine.destroy(work)
      expect(await world.left()).toEqual([])
    })

    it('is found again by a process that remembers nothing', async () => {
      await made()
      expect(await again().state()).toBe('running')
      expect(await again().facts()).toEqual(await machine.facts())
    })

    it('takes new sizes at its next start, and runs on with those it has', async () => {
      await made()
      const bigger = world.machine({...first, cpus: 8, memory: 12 * GIB})
      expect(await bigger.state()).toBe('running')
      await bigger.start(work)
      expect(await world.inForce(first.id)).toEqual({cpus: 4, memory: 8 * GIB})
      await bigger.stop(work)
      await bigger.start(work)
      expect(await world.inForce(first.id)).toEqual({cpus: 8, memory: 12 * GIB})
    })

    it('stands beside one of the same name, and none of what happens to that happens to it', async () => {
      const other = world.machine(second)
      await made()
      await made(other)
      await other.stop(work)
      expect([await machine.state(), await other.state()]).toEqual(['running', 'stopped'])
      await other.destroy(work)
      expect([await machine.state(), await other.state()]).toEqual(['running', 'absent'])
      await machine.destroy(work)
      expect(await world.left()).toEqual([])
    })

    it('is adopted with what is on it when the state of this computer was lost', async () => {
      await made()
      if (!world.hurt.loseState) {
        // The state is the machine: there is nothing else to find, and nothing may be left.
        await machine.destroy(work)
        expect(await world.left()).toEqual([])
        return
      }
      await world.hurt.loseState()
      const adopted = again()
      expect(await adopted.state()).not.toBe('absent')
      await adopted.start(work)
      expect(await adopted.state()).toBe('running')
      await adopted.destroy(work)
      expect(await world.left()).toEqual([])
    })

    it('gives a shell, and is reached where its API server answers', async () => {
      await made()
      expect((await machine.transport.interactive(['sh', '-c', 'exit 3'])).slice(-3)).toEqual([
        'sh',
        '-c',
        'exit 3',
      ])
      await machine.transport.writeFile('/etc/kubernetes/cage/copied', 'text', '0600')
      const {host, port} = await machine.api()
      expect(host).toMatch(/^\d+\.\d+\.\d+\.\d+$/)
      expect(port).toBeGreaterThan(0)
      await machine.close()
      await machine.close()
    })
  })
}
