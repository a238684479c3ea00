import {generateGrantKey, publicGrantKey} from '../../policy/sign.js'
import {CageError, messageOf} from '../../core/errors.js'
import {readIfThere, writePrivate} from './files.js'
import type {ProjectFiles} from './layout.js'

export interface ProjectGrantKey {
  /** PEM, PKCS#8 */
  privateKey: string
  /** SPKI DER, base64: what sidecars and dispatcher are given */
  publicKey: string
}

/** The Ed25519 key that signs this project's grants, made once. Errors: STATE_DAMAGED. */
export async function projectGrantKey(files: ProjectFiles): Promise<ProjectGrantKey> {
  const known = await readIfThere(files.grantKey)
  const privateKey = known ?? generateGrantKey().privateKeyPem
  if (known === undefined) await writePrivate(files.grantKey, privateKey)
  try {
    return {privateKey, publicKey: publicGrantKey(privateKey).toString('base64')}
  } catch (cause) {
    throw new CageError(`${files.grantKey} is not an Ed25519 key: ${messageOf(cause)}`, {
      code: 'STATE_DAMAGED',
      hints: ['Restore the file from a backup, or run `cage destroy` and `cage up`.'],
      cause,
    })
  }
}
