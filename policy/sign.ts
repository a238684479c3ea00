import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  randomBytes,
  sign,
  verify,
} from 'node:crypto'
import {CageError, ExitCode} from '../core/errors.js'
import {checkEgressGrant, checkGitGrant, checkHead, checkSignedPart} from './grant-shape.js'
import type {EgressGrant, GitGrant, GrantHead, SignedPart} from './grant.js'

/** Separates these signatures from anything else that may ever be signed with the same key. */
const CONTEXT = 'cage grant v1'

export type PartKind = 'egress' | 'git'

export interface GrantToSign {
  project: string
  task: string
  revision: number
  /** as made by `newHandle`; only its SHA-256 is signed and travels */
  handle: string
  egress: EgressGrant
  git: GitGrant
}

export interface GrantKey {
  /** PKCS#8 PEM; stays in the project's state directory */
  privateKeyPem: string
  /** SPKI DER; base64 of it is the value of CAGE_GRANT_KEY */
  publicKeyDer: Buffer
}

export function generateGrantKey(): GrantKey {
  const pair = generateKeyPairSync('ed25519')
  return {
    privateKeyPem: pair.privateKey.export({type: 'pkcs8', format: 'pem'}).toString(),
    publicKeyDer: pair.publicKey.export({type: 'spki', format: 'der'}),
  }
}

/** The public half of a key that `generateGrantKey` made, SPKI DER. */
export function publicGrantKey(privateKeyPem: string): Buffer {
  return createPublicKey(createPrivateKey(privateKeyPem)).export({type: 'spki', format: 'der'})
}

/** What the sidecar shows the dispatcher: 256 random bits, worth nothing without the document stored under its hash. */
export function newHandle(): string {
  return `cgt_${randomBytes(32).toString('hex')}`
}

/** Lower-case hex SHA-256 of UTF-8 text. */
export function sha256Hex(value: string | Buffer): string {
  return createHash('sha256').update(value).digest('hex')
}

/** The bytes under the signature: every field of the head in a fixed order, so that equal heads give equal bytes. */
export function signingBytes(head: GrantHead): Buffer {
  checkHead(head)
  const {version, project, task, revision, handleSha256, egressSha256, gitSha256} = head
  return Buffer.from(
    JSON.stringify([CONTEXT, version, project, task, revision, handleSha256, egressSha256, gitSha256]),
  )
}

/** Signs one revision; the two parts share the head, so that each side can check its own. */
export function signGrant(grant: GrantToSign, privateKeyPem: string): {egress: SignedPart; git: SignedPart} {
  const {project, task, revision, handle, egress, git} = grant
  for (const part of [egress, git])
    if (part.project !== project || part.task !== task || part.revision !== revision)
      throw new CageError('the parts of a grant name different projects, tasks or revisions', {
        code: 'GRANT_MISMATCH',
      })
  checkEgressGrant(egress)
  checkGitGrant(git)
  const egressBody = JSON.stringify(egress)
  const gitBody = JSON.stringify(git)
  const head: GrantHead = {
    version: 1,
    project,
    task,
    revision,
    handleSha256: sha256Hex(handle),
    egressSha256: sha256Hex(egressBody),
    gitSha256: sha256Hex(gitBody),
  }
  const signature = sign(null, signingBytes(head), createPrivateKey(privateKeyPem)).toString('base64')
  return {
    egress: {head, signature, body: egressBody},
    git: {head, signature, body: gitBody},
  }
}

/**
 * Checks signature, hash, shape and that head and body speak of the same task, in this order; returns the parsed grant.
 * Throws CageError GRANT_SIGNATURE, GRANT_SHAPE or GRANT_MISMATCH. Never trust `part.head` or `part.body` before.
 * @param publicKeyDer SPKI DER of the project's Ed25519 key
 */
export function verifyPart(part: unknown, publicKeyDer: Buffer, kind: 'egress'): EgressGrant
export function verifyPart(part: unknown, publicKeyDer: Buffer, kind: 'git'): GitGrant
export function verifyPart(part: unknown, publicKeyDer: Buffer, kind: PartKind): EgressGrant | GitGrant {
  checkSignedPart(part)
  const {head, signature, body} = part
  if (!signatureHolds(head, signature, publicKeyDer))
    throw refused('the signature of the grant does not match', 'GRANT_SIGNATURE')
  if (sha256Hex(body) !== (kind === 'egress' ? head.egressSha256 : head.gitSha256))
    throw refused(`the ${kind} part is not the one that was signed`, 'GRANT_SIGNATURE')
  const grant = parseBody(body, kind)
  if (grant.project !== head.project || grant.task !== head.task || grant.revision !== head.revision)
    throw refused('head and body of the grant disagree', 'GRANT_MISMATCH')
  return grant
}

function signatureHolds(head: GrantHead, signature: string, publicKeyDer: Buffer): boolean {
  try {
    const key = createPublicKey({key: publicKeyDer, format: 'der', type: 'spki'})
    if (key.asymmetricKeyType !== 'ed25519') return false
    return verify(null, signingBytes(head), key, Buffer.from(signature, 'base64'))
  } catch {
    return false
  }
}

function parseBody(body: string, kind: PartKind): EgressGrant | GitGrant {
  let grant: unknown
  try {
    grant = JSON.parse(body)
  } catch (cause) {
    throw refused('the body of the grant is not JSON', 'GRANT_SHAPE', cause)
  }
  if (kind === 'egress') {
    checkEgressGrant(grant)
    return grant
  }
  checkGitGrant(grant)
  return grant
}

function refused(message: string, code: string, cause?: unknown): CageError {
  return new CageError(`grant refused: ${message}`, {code, exitCode: ExitCode.denied, cause})
}
