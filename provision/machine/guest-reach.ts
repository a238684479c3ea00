import {randomBytes} from 'node:crypto'
import {createServer, type AddressInfo, type Server} from 'node:net'
import {output} from '../transport/output.js'
import type {Transport} from '../transport/transport.js'

/** An address at which root of a guest reaches what listens on the computer around it. */
export interface Reach {
  address: string
  where: 'loopback' | 'network'
}

/** Where user-mode networks show a guest the computer's loopback: Lima, and QEMU as VirtualBox. */
const loopbacks = ['192.168.5.2', '10.0.2.2']
const script = `for to in "\${@:2}"; do
  timeout 3 bash -c 'exec 3<>"/dev/tcp/\${1%:*}/\${1#*:}" && echo "$2 $1" >&3' bash "$to" "$1" 2>/dev/null &
done
wait`

/**
 * Tried from inside: what counts is what arrives at listeners that this computer opens for it, at loopback and at each of
 * `addresses` (its own, IPv4). `host` is root of the guest.
 */
export async function guestReach(
  host: Transport,
  addresses: readonly string[],
  signal: AbortSignal,
): Promise<Reach[]> {
  const nonce = randomBytes(16).toString('hex')
  const arrived = new Set<string>()
  const servers: Server[] = []
  const listen = async (address: string) => {
    const server = await listener(address, nonce, (at) => arrived.add(at))
    servers.push(server)
    return (server.address() as AddressInfo).port
  }
  try {
    const loopback = await listen('127.0.0.1')
    const tried = loopbacks.map((address) => ({address, port: loopback, where: 'loopback' as const}))
    const own = addresses.map(async (address) => ({
      address,
      port: await listen(address),
      where: 'network' as const,
    }))
    const all = [...tried, ...(await Promise.all(own))]
    const argv = [
      'bash',
      '-c',
      script,
      'bash',
      nonce,
      ...all.map(({address, port}) => `${address}:${port}`),
    ] as const
    await output(host, {argv, signal, timeoutMs: 20_000})
    return all
      .filter(({address, port}) => arrived.has(`${address}:${port}`))
      .map(({address, where}) => ({address, where}))
  } finally {
    for (const server of servers) server.close()
  }
}

/** Hears one line from each that connects, and nothing from those who do not know the nonce. */
function listener(address: string, nonce: string, arrived: (at: string) => void): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => {
      let text = ''
      socket.setTimeout(3000, () => socket.destroy())
      socket.on('error', () => undefined)
      socket.on('data', (chunk: Buffer) => {
        text += chunk.toString('latin1')
        const [said, at] = text.trim().split(' ')
        if (text.endsWith('\n') && said === nonce && at !== undefined) arrived(at)
        if (text.endsWith('\n') || text.length > 100) socket.destroy()
      })
    })
    server.once('error', reject)
    server.listen(0, address, () => resolve(server))
  })
}
