import {readIfThere, writePrivate} from '../state/files.js'
import type {ProjectFiles} from '../state/layout.js'
import {newSshKey} from '../transport/ssh-key.js'

/** cage's own keys for one guest, made before the guest is. */
export interface GuestKeys {
  /** what the guest's root accepts: `ssh-ed25519 BASE64 …` */
  authorizedKey: string
  /** OpenSSH private key, PEM text, with which the guest proves who it is */
  hostKey: string
  /** the same key's public half, `ssh-ed25519 BASE64`: the only one that is accepted */
  pinned: string
}

/** The keys in the project's state directory. When one is missing all are made anew: the guest gets them at its next start. */
export async function guestKeys(files: ProjectFiles, id: string): Promise<GuestKeys> {
  const alias = hostKeyAlias(id)
  const [key, authorizedKey, hostKey, known] = await Promise.all(
    [files.sshKey, files.sshPublicKey, files.sshHostKey, files.sshKnownHosts].map(readIfThere),
  )
  if (key !== undefined && authorizedKey !== undefined && hostKey !== undefined && known !== undefined)
    return {authorizedKey: authorizedKey.trim(), hostKey, pinned: known.trim().slice(alias.length + 1)}
  const [client, host] = [await newSshKey(alias), await newSshKey(alias)]
  const pinned = host.publicKey.split(' ').slice(0, 2).join(' ')
  await writePrivate(files.sshKey, client.privateKey)
  await writePrivate(files.sshPublicKey, `${client.publicKey}\n`)
  await writePrivate(files.sshHostKey, host.privateKey)
  await writePrivate(files.sshKnownHosts, `${alias} ${pinned}\n`)
  return {authorizedKey: client.publicKey, hostKey: host.privateKey, pinned}
}

/** The name under which a guest's key stands in the project's own known_hosts file. */
export function hostKeyAlias(id: string): string {
  return `cage-${id}`
}
