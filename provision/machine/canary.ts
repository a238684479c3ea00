import {randomInt} from 'node:crypto'
import {createSocket} from 'node:dgram'
import {createServer} from 'node:net'
import {createInterface} from 'node:readline'
import type {Canary, Heard} from '../../core/canary.js'
import {CageError} from '../../core/errors.js'
import {output} from '../transport/output.js'
import type {Transport} from '../transport/transport.js'

/** Perl is essential on every Debian. Prints `ready`, then a line for whatever arrives. */
const LISTEN = String.raw`
use strict; use IO::Socket::INET; use IO::Select; $| = 1;
my ($address, @ports) = @ARGV;
my ($all, %name, %listens) = (IO::Select->new);
for my $protocol ('tcp', 'udp') { for my $port (@ports) {
  my $socket = IO::Socket::INET->new(LocalAddr => $address, LocalPort => $port, Proto => $protocol,
    ReuseAddr => 1, $protocol eq 'tcp' ? (Listen => 64) : ()) or die "$protocol $port: $@\n";
  $name{$socket} = "$protocol $port"; $listens{$socket} = $protocol eq 'tcp'; $all->add($socket);
} }
print "ready\n";
while (my @ready = $all->can_read) { for my $socket (@ready) {
  my $data = '';
  if ($listens{$socket}) {
    my $client = $socket->accept or next;
    $name{$client} = $name{$socket}; $all->add($client); next;
  }
  if ($name{$socket} =~ /^udp/) { recv($socket, $data, 2048, 0) }
  else { sysread($socket, $data, 2048); $all->remove($socket); close $socket }
  print "$name{$socket} ", unpack('H*', $data), "\n";
} }
`
const TEXT_BYTES = 2048

/** A port that nobody else uses by chance. */
export function highPort(): number {
  return randomInt(20_000, 30_000)
}

/** Listens on the machine itself, at the address that its pods would reach first. Errors: CANARY_SILENT. */
export async function machineCanary(
  transport: Transport,
  address: string,
  ports: readonly number[],
): Promise<Canary> {
  const running = await transport.start({argv: ['perl', '-e', LISTEN, address, ...ports.map(String)]})
  running.stdin.end()
  const heard: Heard[] = []
  let said = ''
  running.stderr.on('data', (chunk: Buffer) => (said = (said + chunk.toString()).slice(-1024)))
  await new Promise<void>((ready, failed) => {
    createInterface({input: running.stdout}).on('line', (line) => {
      const [protocol = '', port = '', hex = ''] = line.split(' ')
      if (protocol === 'ready') ready()
      else if (protocol === 'tcp' || protocol === 'udp')
        heard.push({protocol, port: Number(port), text: Buffer.from(hex, 'hex').toString('latin1')})
    })
    void running.exit.then(() =>
      failed(
        new CageError(`the canary on the machine does not listen: ${said.trim()}`, {code: 'CANARY_SILENT'}),
      ),
    )
  })
  return {
    where: 'machine',
    address,
    ports,
    heard: () => heard,
    knock: (protocol, port, text) => knock(transport, address, protocol, port, text),
    close: async () => {
      running.kill('SIGTERM')
      await running.exit
    },
  }
}

/** Listens on this computer, at its end of the link to the machine. */
export async function computerCanary(
  transport: Transport,
  address: string,
  ports: readonly number[],
): Promise<Canary> {
  const heard: Heard[] = []
  const closers: (() => void)[] = []
  await Promise.all(
    ports.flatMap((port) => [
      new Promise<void>((listening, failed) => {
        const server = createServer((socket) => {
          let text = ''
          socket.on('error', () => undefined)
          socket.once('data', (bytes) => {
            text = bytes.toString('latin1').slice(0, TEXT_BYTES)
            socket.destroy()
          })
          socket.once('close', () => heard.push({protocol: 'tcp', port, text}))
        })
        closers.push(() => server.close())
        server.once('error', failed).listen(port, address, listening)
      }),
      new Promise<void>((listening, failed) => {
        const socket = createSocket('udp4', (bytes) => {
          heard.push({protocol: 'udp', port, text: bytes.toString('latin1').slice(0, TEXT_BYTES)})
        })
        closers.push(() => socket.close())
        socket.once('error', failed).bind(port, address, listening)
      }),
    ]),
  )
  return {
    where: 'computer',
    address,
    ports,
    heard: () => heard,
    knock: (protocol, port, text) => knock(transport, address, protocol, port, text),
    close: () => {
      for (const close of closers) close()
      return Promise.resolve()
    },
  }
}

async function knock(
  transport: Transport,
  address: string,
  protocol: 'tcp' | 'udp',
  port: number,
  text: string,
): Promise<void> {
  const script = 'exec 3<>"/dev/$1/$2/$3" && printf %s "$4" >&3'
  const argv = ['bash', '-c', script, 'bash', protocol, address, String(port), text] as const
  await output(transport, {argv, timeoutMs: 10_000})
}
