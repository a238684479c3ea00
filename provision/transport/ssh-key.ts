import ssh2 from 'ssh2'

/** A new Ed25519 key pair: the private key in OpenSSH's format, the public one as `ssh-ed25519 BASE64 COMMENT`. */
export function newSshKey(comment: string): {privateKey: string; publicKey: string} {
  const pair = ssh2.utils.generateKeyPairSync('ed25519', {comment})
  return {privateKey: pair.private, publicKey: pair.public.trim()}
}
