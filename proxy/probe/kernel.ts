import {processRunner} from '../../core/process.js'

export interface KernelDoor {
  name: string
  /** Perl, because Node opens none of these: prints `open` and why, or `closed` and the error */
  program: string
}

const noSuchCall = '$!{EPERM} || $!{ENOSYS} || $!{EACCES}'

/** @param foreign an IPv4 address that a packet would have to leave for */
export function kernelDoors(foreign: string): KernelDoor[] {
  return [
    {
      name: 'icmp does not leave',
      program: `
        socket(my $ping, 2, 2, 1) or do { print "closed $!"; exit };
        my $to = pack("S n C4 x8", 2, 0, ${foreign.replaceAll('.', ', ')});
        my $sent = send($ping, pack("C C n n n a8", 8, 0, 0, 1, 1, "probe"), 0, $to);
        print $sent ? "open: a ping was sent" : "closed $!";`,
    },
    {
      name: 'vsock is unavailable',
      program: 'print socket(my $door, 40, 1, 0) ? "open: AF_VSOCK" : "closed $!";',
    },
    {
      name: 'io_uring is unavailable',
      program: `
        use Errno;
        my $parameters = "\\0" x 120;
        my $result = syscall(425, 1, $parameters);
        print $result == -1 && (${noSuchCall}) ? "closed $!" : "open: io_uring_setup";`,
    },
  ]
}

/** Resolves with the kernel's reason. */
export async function kernelRefuses(door: KernelDoor): Promise<string> {
  const {code, stdout, stderr} = await processRunner.run({
    argv: ['perl', '-e', door.program],
    timeoutMs: 10_000,
  })
  const [verdict, ...rest] = stdout.toString().trim().split(' ')
  if (code === 0 && verdict === 'closed') return rest.join(' ')
  throw new Error(stdout.toString().trim() || stderr.trim() || `perl ended with ${code}`)
}
