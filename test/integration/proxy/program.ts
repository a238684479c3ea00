/** The sidecar's rooms behind a command line with paths of one's own: what proxy/main.ts is in the pod. */
import {existsSync, readFileSync} from 'node:fs'
import {join} from 'node:path'
import {askControl} from '../../../proxy/control.js'
import {runProbe} from '../../../proxy/probe/main.js'
import {serve} from '../../../proxy/serve.js'

const [, , command, directory = '', ...rest] = process.argv
if (command === 'probe')
  process.exit(await runProbe(rest, join(directory, 'trust/ca.pem'), process.stdout, 3000))
if (command === 'control') {
  process.stdout.write(
    JSON.stringify(await askControl(join(directory, 'state/control.sock'), readFileSync(0, 'utf8'))),
  )
  process.exit(0)
}
process.umask(0o077)
followClock(join(directory, 'clock'))
const sidecar = await serve({
  grantKey: readFileSync(join(directory, 'grant-key')),
  grantDirectory: join(directory, 'grant'),
  stateDirectory: join(directory, 'state'),
  ledgerDirectory: join(directory, 'ledger'),
  trustDirectory: join(directory, 'trust'),
  controlSocket: join(directory, 'state/control.sock'),
  systemRoots: join(directory, 'roots.pem'),
})
process.stdout.write(`${process.pid}\n`)
process.once('SIGTERM', () => void sidecar.close().then(() => process.exit(0)))

/** SIGUSR2 sets the clock of this process: by so many milliseconds as the file says. */
function followClock(file: string): void {
  const real = Date.now
  let shift = 0
  Date.now = () => real() + shift
  process.on('SIGUSR2', () => (shift = existsSync(file) ? Number(readFileSync(file, 'utf8')) : 0))
}
