import type {Runner} from '../../core/runner.js'

/** QEMU's program and machine for guests of this computer's own architecture. */
const qemu: Readonly<Record<string, {program: string; machine: string}>> = {
  x64: {program: 'qemu-system-x86_64', machine: 'q35'},
  arm64: {program: 'qemu-system-aarch64', machine: 'virt'},
}

export function qemuProgram(arch: string): string {
  return qemu[arch]?.program ?? 'qemu'
}

/**
 * True when this computer's processor runs virtual machines for us. Tried, not looked up: `/dev/kvm` may exist, even
 * make a machine, and fail at its first processor. macOS always can.
 */
export async function hardwareVirtualization(
  runner: Runner,
  platform: string,
  arch: string,
): Promise<boolean> {
  if (platform === 'darwin') return true
  const found = qemu[arch]
  if (platform !== 'linux' || !found) return false
  const bare = ['-accel', 'kvm', '-cpu', 'host', '-machine', found.machine, '-nodefaults', '-display', 'none']
  const attempt = await runner
    .run({
      argv: [found.program, ...bare, '-monitor', 'stdio'],
      input: 'info status\nquit\n',
      timeoutMs: 20_000,
    })
    .catch(() => undefined)
  return attempt?.code === 0 && attempt.stdout.includes('VM status: running')
}

/**
 * The environment entry with which Lima starts QEMU in software: it only looks whether /dev/kvm exists.
 * Undefined where no such setting is known to work.
 */
export function emulator(arch: string): string | undefined {
  if (arch !== 'x64') return undefined
  const machine = '-machine q35,vmport=off -accel tcg,thread=multi,tb-size=512 -cpu max,la57=off'
  return `QEMU_SYSTEM_X86_64=${qemuProgram(arch)} ${machine}`
}
