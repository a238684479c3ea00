// Looks at how this computer reaches the package registry that the demonstration reads, and prints the `network`
// section that the operator's file needs for it: nothing on the ordinary internet.
//   node scripts/quickstart-network.mjs CONFIG_FOLDER
import {readFileSync, writeFileSync} from 'node:fs'
import {lookup} from 'node:dns/promises'
import {BlockList} from 'node:net'
import {join} from 'node:path'
import {connect, rootCertificates} from 'node:tls'

const folder = process.argv[2]
const host = 'registry.npmjs.org'

// Private, shared, link-local, documentation and benchmark ranges: not the internet, whatever answers there.
const special = new BlockList()
for (const range of [
  '10.0.0.0/8',
  '100.64.0.0/10',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.0.0.0/24',
  '192.0.2.0/24',
  '192.168.0.0/16',
  '198.18.0.0/15',
  '198.51.100.0/24',
  '203.0.113.0/24',
]) {
  const [address, bits] = range.split('/')
  special.addSubnet(address, Number(bits))
}

/** The certificate chain of `host` against one set of roots: the root's PEM, or undefined when it is not trusted. */
function rootOf(address, ca) {
  return new Promise((done) => {
    const socket = connect({host: address, servername: host, port: 443, ca, timeout: 10_000}, () => {
      let certificate = socket.getPeerCertificate(true)
      while (certificate.issuerCertificate && certificate.issuerCertificate !== certificate) {
        certificate = certificate.issuerCertificate
      }
      socket.destroy()
      const body = certificate.raw.toString('base64').match(/.{1,64}/g)
      done(['-----BEGIN CERTIFICATE-----', ...body, '-----END CERTIFICATE-----', ''].join('\n'))
    })
    for (const event of ['error', 'timeout']) {
      socket.on(event, () => {
        socket.destroy()
        done(undefined)
      })
    }
  })
}

function systemRoots() {
  for (const file of [
    '/etc/ssl/certs/ca-certificates.crt',
    '/etc/pki/tls/certs/ca-bundle.crt',
    '/etc/ssl/cert.pem',
  ]) {
    try {
      return readFileSync(file, 'utf8')
    } catch {
      // the next distribution's place
    }
  }
  return undefined
}

const found = await lookup(host, {family: 4}).catch(() => undefined)
if (!found) {
  console.error(`    ${host} has no address here: the step that reads an allowed host will fail`)
} else {
  const isSpecial = special.check(found.address)
  const publiclyTrusted = (await rootOf(found.address, rootCertificates)) !== undefined
  const lines = []
  if (!publiclyTrusted) {
    const root = await rootOf(found.address, systemRoots())
    if (root) {
      const file = join(folder, 'registry-ca.pem')
      writeFileSync(file, root)
      lines.push(
        `  hosts:`,
        `    ${host}: { address: ${found.address}, port: 443, ca: ${JSON.stringify(file)} }`,
      )
      console.error(`    ${host} is signed by a root of this network's own: the exception names it`)
    } else {
      console.error(`    ${host} has a certificate that this computer does not trust: reading it will fail`)
    }
  }
  if (isSpecial) {
    lines.unshift(`  allowAddresses: [${found.address}/32]`)
    console.error(
      `    ${host} is ${found.address} here, a special address: the exception names exactly this one`,
    )
  }
  if (lines.length > 0) console.log(['network:', ...lines].join('\n'))
}
