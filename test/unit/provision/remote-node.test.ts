import {describe, expect, it} from '@jest/globals'
import {record, remoteWorld as world, sums} from '../../support/fake-server.js'
import {machineContract, type MachineWorld} from '../../support/machine-contract.js'

const GIB = 1024 ** 3
const {id} = record

machineContract('ssh', async (): Promise<MachineWorld> => {
  const {server, make, clean} = await world()
  return {
    machine: make,
    hurt: {
      powerOff: () => {
        server.place(id).node = server.place(id).wayOut = false
        return Promise.resolve()
      },
      loseWayOut: () => {
        server.place(id).wayOut = false
        return Promise.resolve()
      },
      failStart: () => {
        server.starts = false
      },
      // Nothing of it is in the state but its record, which is made anew from the settings.
      loseState: () => Promise.resolve(),
    },
    inForce: (project) => Promise.resolve(server.place(project).limits),
    failure: {code: 'MACHINE_NOT_STARTED', message: expect.stringContaining('mount: no overlay')},
    left: () => Promise.resolve(server.left()),
    clean,
  }
})

describe('a node on a server', () => {
  it('gets each layer once, and the rest of one that was cut off', async () => {
    const {server, make, work, clean} = await world()
    server.layers.add(sums[0] ?? '')
    server.partial.set(sums[1] ?? '', 4)
    await make().create(work)
    await make().start(work)
    expect(server.uploads).toEqual([{sum: sums[1], offset: 4, bytes: Buffer.from('b'.repeat(6))}])
    const start = server.commands.find((argv) => argv.some((word) => word.endsWith('/node/start.sh'))) ?? []
    expect(start).toContain(
      `CAGE_NODE_LAYERS=/var/lib/cage/shop-00000001/machine/files:/var/lib/cage/layers/${sums[0]}:/var/lib/cage/layers/${sums[1]}`,
    )
    await clean()
  })

  it('is told names, addresses and limits, calls the programs it brought first, and hears nothing of this computer', async () => {
    const {home, server, make, work, clean} = await world()
    process.env['CAGE_TEST_SECRET'] = 'secret'
    await make().create(work)
    await make().start(work)
    delete process.env['CAGE_TEST_SECRET']
    const start = server.commands.find((argv) => argv.some((word) => word.endsWith('/node/start.sh'))) ?? []
    expect(start.slice(0, 8)).toEqual([
      'env',
      'PATH=/var/lib/cage/shop-00000001/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
      'CAGE_NODE_DIR=/var/lib/cage/shop-00000001/machine',
      'CAGE_NODE_NAME=cage-shop-00000001',
      expect.stringMatching(/^CAGE_NODE_LINK=cage-[0-9a-f]{8}$/),
      'CAGE_NODE_HOST=10.217.0.1/30',
      'CAGE_NODE_ADDRESS=10.217.0.2/30',
      expect.stringContaining('CAGE_NODE_LAYERS='),
    ])
    const everything = JSON.stringify(server.commands)
    expect(everything).not.toContain('secret')
    expect(everything).not.toContain(home)
    await clean()
  })

  it('is not started on a disk that is full: what it wrote would be lost', async () => {
    const {server, make, work, clean} = await world()
    await make().create(work)
    server.free = GIB / 2
    await expect(make().start(work)).rejects.toMatchObject({
      code: 'DISK_FULL',
      exitCode: 3,
      message: expect.stringContaining('512 MiB are free'),
      hints: [expect.stringContaining('Free 1024 MiB')],
    })
    expect(server.place(id).node).toBe(false)
    await clean()
  })

  it('takes away layers that no project needs once it runs from others', async () => {
    const {server, make, work, clean} = await world()
    await make().create(work)
    await make().start(work)
    expect(server.commands.at(-1)?.slice(-2)).toEqual([expect.stringMatching(/layers\.sh$/), 'tidy'])
    await clean()
  })

  it('closes to pods every address of the server, those included at which it is known from outside', async () => {
    const {make, clean} = await world()
    expect(await make().facts()).toMatchObject({
      address: '10.217.0.2',
      architecture: 'amd64',
      cgroup: 'v2',
      around: ['10.9.8.7', '198.51.100.9', '203.0.113.5'],
    })
    await clean()
  })

  it('is not started once the person interrupted', async () => {
    const {server, make, clean} = await world()
    const gone = new AbortController()
    gone.abort(new Error('interrupted'))
    await expect(make().stop({signal: gone.signal, detail: () => undefined})).resolves.toBeUndefined()
    server.place(id).disks = true
    await expect(make().stop({signal: gone.signal, detail: () => undefined})).rejects.toThrow('interrupted')
    await clean()
  })

  it('says on every command that it does not run', async () => {
    const {server, make, clean} = await world()
    server.run = () =>
      Promise.resolve({code: 125, stdout: Buffer.from(''), stderr: 'cage: the node does not run\n'})
    await expect(make().transport.run({argv: ['true']})).rejects.toMatchObject({
      code: 'MACHINE_NOT_RUNNING',
      hints: ['Run `cage up`.'],
    })
    await clean()
  })
})
