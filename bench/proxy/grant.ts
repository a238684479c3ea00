/** The grant of the measured sidecar, and how a later revision of it is pushed. */
import {mkdirSync, readFileSync, writeFileSync} from 'node:fs'
import {join} from 'node:path'
import {createAuthority, parseAuthority} from '../../core/certificates/authority.js'
import type {EgressRule, SignedPart} from '../../policy/grant.js'
import {generateGrantKey, newHandle, signGrant} from '../../policy/sign.js'
import {egressGrant, egressRule, gitGrant} from '../../test/support/grants.js'
import {originAddress, originHost} from './world.js'

interface Signer {
  handle: string
  privateKeyPem: string
  /** of the dispatcher, PEM */
  dispatcherCa: string
}

export const fileOf = (directory: string, name: string) => join(directory, 'sidecar', name)
const signerFile = (directory: string) => fileOf(directory, 'signer.json')

/** Writes the first revision where the sidecar reads it; gives back the key that it is signed for, SPKI DER. */
export function writeGrant(directory: string): Buffer {
  mkdirSync(fileOf(directory, 'grant'), {recursive: true})
  const {privateKeyPem, publicKeyDer} = generateGrantKey()
  const dispatcherCa = parseAuthority(createAuthority('none', Date.now())).certificate
  const signer: Signer = {handle: newHandle(), privateKeyPem, dispatcherCa}
  writeFileSync(signerFile(directory), JSON.stringify(signer))
  writeFileSync(fileOf(directory, 'grant/egress.json'), JSON.stringify(signedRevision(directory, 1)))
  writeFileSync(fileOf(directory, 'grant/credentials.json'), '{}')
  writeFileSync(fileOf(directory, 'grant/handle'), signer.handle)
  return publicKeyDer
}

/** The grant with more rules, under another revision. */
export function signedRevision(
  directory: string,
  revision: number,
  more: readonly EgressRule[] = [],
): SignedPart {
  const {handle, privateKeyPem, dispatcherCa} = JSON.parse(
    readFileSync(signerFile(directory), 'utf8'),
  ) as Signer
  const egress = egressGrant({
    revision,
    dispatcher: {address: originAddress, port: 8443, ca: dispatcherCa, hosts: ['git.cage.internal']},
    resolver: [originAddress],
    rules: [
      egressRule({id: 'origin', host: originHost}),
      egressRule({id: 'secrets', effect: 'deny', host: originHost, paths: ['/secret/**']}),
      ...Array.from({length: 50}, (_, index) =>
        egressRule({id: `other-${index}`, host: `host-${index}.test`}),
      ),
      ...more,
    ],
    hosts: [
      {
        host: originHost,
        address: originAddress,
        port: 443,
        ca: readFileSync(join(directory, 'origin-ca.pem'), 'utf8'),
      },
    ],
  })
  const {task, project} = egress
  return signGrant({project, task, revision, handle, egress, git: gitGrant({revision})}, privateKeyPem).egress
}
