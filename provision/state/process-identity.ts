import {readFile} from 'node:fs/promises'

/**
 * `PID START_TIME BOOT_ID`: names one process, also after its number was given to another. Undefined when there is none.
 * The same text as `process_identity` in provision/guest/node/lib.sh.
 */
export async function processIdentity(pid: number): Promise<string | undefined> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8')
    const boot = await readFile('/proc/sys/kernel/random/boot_id', 'utf8')
    // The command's name may hold blanks and parentheses; the start time is the 20th field after it.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    // A zombie has ended, only its parent has not noticed.
    if (fields[0] === 'Z') return undefined
    return `${pid} ${fields[19] ?? ''} ${boot.trim()}`
  } catch {
    return undefined
  }
}

/** The pid in an identity if that very process still runs. */
export async function livingProcess(identity: string): Promise<number | undefined> {
  const pid = Number.parseInt(identity, 10)
  if (!Number.isInteger(pid)) return undefined
  return (await processIdentity(pid)) === identity.trim() ? pid : undefined
}
