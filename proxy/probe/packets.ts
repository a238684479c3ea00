import {randomBytes, randomInt} from 'node:crypto'
import {createSocket} from 'node:dgram'
import {gitHost} from '../../core/layout.js'
import {buildQuery, parseResponse, responseCode, type Addresses} from '../names/message.js'
import {isSynthetic} from '../names/synthetic.js'

const SILENCE_MS = 1000

/** The kernel itself must say no; silence would mean that the packet is under way. */
export function udpIsRefused(type: 'udp4' | 'udp6', address: string, port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = createSocket(type)
    let second: NodeJS.Timeout | undefined
    const end = (act: () => void) => {
      clearTimeout(timer)
      clearTimeout(second)
      socket.removeAllListeners('error').on('error', () => undefined)
      socket.close()
      act()
    }
    const timer = setTimeout(
      () => end(() => reject(new Error(`a packet to ${address} was not refused`))),
      SILENCE_MS,
    )
    const refused = (error: NodeJS.ErrnoException) => end(() => resolve(error.code ?? error.message))
    socket.on('error', refused)
    // Not as a callback of connect: that is called for a failure as well.
    socket.on('connect', () => {
      // The first packet meets the refusal, the second one reads it.
      socket.send('probe', () => undefined)
      second = setTimeout(() => socket.send('probe', () => undefined), SILENCE_MS / 4)
    })
    socket.connect(port, address)
  })
}

/** Whoever is asked, the sidecar answers: its name for the dispatcher, and no other. */
export async function foreignResolverIsOurs(resolver: string): Promise<string> {
  const own = await ask(resolver, gitHost)
  const [address = 'nothing'] = own.addresses
  if (!isSynthetic(address)) throw new Error(`${gitHost} is ${address} there`)
  const unlisted = await ask(resolver, `${randomBytes(6).toString('hex')}.example.com`)
  if (unlisted.code !== responseCode.nameError)
    throw new Error(`an unlisted name got response code ${unlisted.code}`)
  return `${gitHost} is ${address}`
}

function ask(resolver: string, name: string): Promise<Addresses> {
  const query = buildQuery(randomInt(0x10000), name)
  return new Promise((resolve, reject) => {
    const socket = createSocket('udp4')
    const timer = setTimeout(() => end(() => reject(new Error('no answer'))), SILENCE_MS * 3)
    const end = (act: () => void) => {
      clearTimeout(timer)
      socket.close()
      act()
    }
    socket.on('error', (error) => end(() => reject(error)))
    socket.on('message', (packet) => {
      const found = parseResponse(packet, query, name)
      end(() => (found ? resolve(found) : reject(new Error('not an answer to the question'))))
    })
    socket.send(query, 53, resolver)
  })
}
