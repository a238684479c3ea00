import {Writable} from 'node:stream'
import {CageError} from '../../core/errors.js'
import type {Cluster} from '../../kube/cluster.js'

/** Runs in a pod: tries each ADDRESS:PORT for two seconds, prints the ones that answer. */
const KNOCK = `
const net = require('node:net')
Promise.all(process.argv.slice(1).map((target) => new Promise((done) => {
  const cut = target.lastIndexOf(':')
  const socket = net.connect(Number(target.slice(cut + 1)), target.slice(0, cut))
  const end = (answer) => { socket.destroy(); done(answer) }
  socket.setTimeout(2000, () => end(''))
  socket.on('connect', () => end(target))
  socket.on('error', () => end(''))
}))).then((answers) => console.log(answers.filter(Boolean).join(' ')))
`

/** A container that has Node. */
export interface KnockFrom {
  namespace: string
  pod: string
  container: string
}

/** Which of the `ADDRESS:PORT` answer a pod. Errors: SELF_CHECK_FAILED when it could not be tried. */
export async function knock(
  cluster: Cluster,
  from: KnockFrom,
  targets: readonly string[],
  signal: AbortSignal,
): Promise<string[]> {
  let said = ''
  const stdout = new Writable({
    write: (chunk: Buffer, _encoding, done) => {
      said += chunk.toString()
      done()
    },
  })
  const code = await cluster.exec({...from, argv: ['node', '-e', KNOCK, ...targets], stdout, signal})
  if (code !== 0)
    throw new CageError(`what a pod reaches could not be tried (exit code ${code})`, {
      code: 'SELF_CHECK_FAILED',
    })
  return said.trim().split(' ').filter(Boolean)
}
