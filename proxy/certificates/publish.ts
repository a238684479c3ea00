import {readFileSync} from 'node:fs'
import {basename, join} from 'node:path'
import {trustPath} from '../../core/layout.js'
import {writeAtomically} from '../files.js'
import {certificatesOf} from '../../core/certificates/der.js'
import {trustStore} from './truststore.js'

/** In the proxy's own image: the public roots as its distribution ships them. */
export const systemRootsPath = '/etc/ssl/certs/ca-certificates.crt'

/**
 * Writes what the agent's programs trust: the pod's CA alone, CA and public roots as one bundle, the same for Java.
 * Public files only; each replaces its older self in one step.
 */
export function publishTrust(directory: string, authority: string, systemRoots: string): void {
  const roots = certificatesOf(systemRoots)
  const store = [
    {alias: 'cage', der: certificatesOf(authority)[0] ?? Buffer.alloc(0)},
    ...roots.map((der, index) => ({alias: `root-${index + 1}`, der})),
  ]
  const files: [string, string | Buffer][] = [
    [trustPath.java, trustStore(store)],
    [trustPath.bundle, `${authority}${systemRoots.trimEnd()}\n`],
    [trustPath.ca, authority],
  ]
  for (const [path, content] of files) writeAtomically(join(directory, basename(path)), content, 0o644)
}

export function readSystemRoots(path: string): string {
  return readFileSync(path, 'utf8')
}
