import {fileURLToPath} from 'node:url'
import {describe, expect} from '@jest/globals'
import {processRunner} from '../../../core/process.js'
import {itUnless} from '../../support/when.js'

const script = (name: string) => fileURLToPath(new URL(`../../../provision/guest/${name}`, import.meta.url))
const obstacle = process.getuid?.() === 0 ? undefined : 'network namespaces need root'

/** A machine in namespaces: one address that answers, the real firewall or none, and the look from where pods are. */
async function look(prepare: string): Promise<{code: number; said: string}> {
  const machine = `
    set -e
    mkdir -p /run/netns; mount -t tmpfs tmpfs /run/netns
    mkdir -p /run/cage; mount -t tmpfs tmpfs /run/cage
    ip link set lo up; ip addr add 10.55.0.1/32 dev lo
    python3 -m http.server 8099 --bind 10.55.0.1 >/dev/null 2>&1 & server=$!
    until (exec 3<>/dev/tcp/10.55.0.1/8099) 2>/dev/null; do sleep 0.1; done
    ${prepare}
    code=0; ${script('lookout.sh')} 10.55.0.1:8099 10.55.0.1:8100 || code=$?
    kill $server; exit $code`
  const argv = ['unshare', '--net', '--mount', 'bash', '-c', machine] as const
  const {code, stdout, stderr} = await processRunner.run({argv, timeoutMs: 60_000})
  return {code, said: stdout.toString() + stderr}
}

describe('the look out from where pods are', () => {
  itUnless(obstacle, 'sees what answers when there is no firewall', async () => {
    expect(await look('')).toEqual({code: 0, said: '10.55.0.1:8099\n'})
  })

  itUnless(obstacle, 'sees nothing behind the firewall', async () => {
    expect(await look(`${script('firewall.sh')} closed`)).toEqual({code: 0, said: ''})
  })
})
