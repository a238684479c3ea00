/** A new Ed25519 key pair: the private key in OpenSSH's format, the public one as `ssh-ed25519 BASE64 COMMENT`. */
export async function newSshKey(comment: string): Promise<{privateKey: string; publicKey: string}> {
  const {default: ssh2} = await import('ssh2')
  const pair = ssh2.utils.generateKeyPairSync('ed25519', {comment})
  return {privateKey: pair.private, publicKey: pair.public.trim()}
}
