import {join} from 'node:path'

/**
 * The project's state directory: every file in one place, see docs/reference/state-directory.md.
 * Directories are 0700, files 0600.
 */
export interface ProjectFiles {
  /** `$XDG_STATE_HOME/cage/<id>` */
  directory: string
  /** who works on the project right now: `PID START_TIME BOOT_ID` */
  lock: string
  /** MachineRecord: what `cage up` decided once for this project */
  record: string
  /** the machine's own files: disks, process numbers, log */
  machine: string
  /** SSH to a machine that is not this computer: the project's own key, OpenSSH format, and its public half */
  sshKey: string
  sshPublicKey: string
  /** the key with which a virtual machine proves who it is, OpenSSH format: cage makes it and puts it in */
  sshHostKey: string
  /** the one host key that the machine may show, as ssh reads it */
  sshKnownHosts: string
  kubeconfig: string
  /** the project's CA, which signs the dispatcher's certificate */
  caCertificate: string
  caKey: string
  /** Ed25519 key that signs grants */
  grantKey: string
  /** what `cage trust` approved: hashes of compiled results */
  approvals: string
  /** last known heads of the tasks' audit chains */
  auditHeads: string
  /** audit records of removed tasks */
  audit: string
  /** logs of `cage` itself */
  logs: string
}

/** `stateHome` is `$XDG_STATE_HOME`. */
export function projectFiles(stateHome: string, id: string): ProjectFiles {
  const directory = join(stateHome, 'cage', id)
  const file = (name: string) => join(directory, name)
  return {
    directory,
    lock: file('lock'),
    record: file('machine.json'),
    machine: file('machine'),
    sshKey: file('ssh/key'),
    sshPublicKey: file('ssh/key.pub'),
    sshHostKey: file('ssh/host_key'),
    sshKnownHosts: file('ssh/known_hosts'),
    kubeconfig: file('kubeconfig'),
    caCertificate: file('ca.crt'),
    caKey: file('ca.key'),
    grantKey: file('grant.key'),
    approvals: file('approvals.json'),
    auditHeads: file('audit-heads.json'),
    audit: file('audit'),
    logs: file('logs'),
  }
}
