import {mkdirSync, writeFileSync} from 'node:fs'
import {afterAll, beforeAll, describe, expect, jest, test} from '@jest/globals'
import {processRunner} from '../../../core/process.js'
import {egressRule} from '../../support/grants.js'
import {missing, systemPath, TestNetwork} from './network.js'

const reason = await missing()
jest.setTimeout(120_000)
if (reason !== undefined) test(`skipped: ${reason}`, () => undefined)

let network: TestNetwork
beforeAll(async () => {
  if (reason !== undefined) return
  network = await TestNetwork.create()
  await network.fence()
  network.writeGrant({rules: [egressRule({host: 'allowed.test'})]})
  await network.startSidecar()
})
afterAll(async () => {
  if (reason === undefined) await network.destroy()
})

/** As the pod sets them; the paths are those of this test. */
const trust = () => {
  const bundle = network.path('trust/bundle.pem')
  return {
    SSL_CERT_FILE: bundle,
    NODE_EXTRA_CA_CERTS: network.path('trust/ca.pem'),
    REQUESTS_CA_BUNDLE: bundle,
    CURL_CA_BUNDLE: bundle,
    GIT_SSL_CAINFO: bundle,
    PIP_CERT: bundle,
    JAVA_TOOL_OPTIONS: `-Djavax.net.ssl.trustStore=${network.path('trust/truststore.p12')} -Djavax.net.ssl.trustStorePassword=changeit`,
  }
}

const url = 'https://allowed.test/x'
const goProgram = `package main
import ("fmt"; "net/http"; "os")
func main() {
  r, err := http.Get(os.Args[1])
  if err != nil { fmt.Println(err); os.Exit(1) }
  fmt.Println(r.StatusCode)
}
`
const javaProgram = `public class Get {
  public static void main(String[] a) throws Exception {
    var r = java.net.http.HttpClient.newHttpClient().send(java.net.http.HttpRequest.newBuilder(java.net.URI.create(a[0])).build(), java.net.http.HttpResponse.BodyHandlers.ofString());
    System.out.println(r.statusCode());
  }
}
`

interface Client {
  name: string
  /** programs it needs */
  needs: string
  argv: () => Promise<string[]> | string[]
  /** in its output when it worked */
  says: string
  /** in its output when the certificate is not trusted */
  refuses: RegExp
}

const clients: Client[] = [
  {
    name: 'node',
    needs: process.execPath,
    argv: () => [
      process.execPath,
      '-e',
      `fetch('${url}').then((r) => console.log(r.status), (e) => console.log(e.cause.code))`,
    ],
    says: '200',
    refuses: /UNABLE_TO_VERIFY/,
  },
  {
    name: 'python',
    needs: 'python3',
    argv: () => ['python3', '-c', `import urllib.request; print(urllib.request.urlopen('${url}').status)`],
    says: '200',
    refuses: /CERTIFICATE_VERIFY_FAILED/,
  },
  {
    name: 'curl',
    needs: 'curl',
    argv: () => ['curl', '-sS', '-o', '/dev/null', '-w', '%{http_code}', url],
    says: '200',
    refuses: /SSL certificate problem/,
  },
  {
    name: 'git',
    needs: 'git',
    argv: () => ['git', 'ls-remote', 'https://git.cage.internal/shop.git'],
    says: 'refs/heads/main',
    refuses: /certificate verification failed|unable to get local issuer|SSL certificate problem/,
  },
  {
    name: 'pip',
    needs: 'pip3',
    argv: () => [
      'pip3',
      'download',
      '--no-deps',
      '-d',
      network.path('agent'),
      '--retries',
      '0',
      '--index-url',
      'https://allowed.test/simple',
      'nothing-like-this',
    ],
    says: 'No matching distribution found for nothing-like-this',
    refuses: /SSLError|SSL: CERTIFICATE_VERIFY_FAILED|certificate verify failed/,
  },
  {
    name: 'Go',
    needs: 'go',
    argv: async () => {
      const folder = network.path('go')
      mkdirSync(folder, {recursive: true})
      writeFileSync(`${folder}/main.go`, goProgram)
      const built = await processRunner.run({
        argv: ['go', 'build', '-o', `${folder}/get`, `${folder}/main.go`],
        env: {...process.env, GOFLAGS: '-mod=mod', CGO_ENABLED: '0'},
        timeoutMs: 110_000,
      })
      expect(built.stderr).toBe('')
      return [`${folder}/get`, url]
    },
    says: '200',
    refuses: /certificate signed by unknown authority/,
  },
  {
    name: 'Java',
    needs: 'java',
    argv: () => {
      writeFileSync(network.path('Get.java'), javaProgram)
      return ['java', network.path('Get.java'), url]
    },
    says: '200',
    refuses: /unable to find valid certification path|PKIX/,
  },
]

for (const client of clients) {
  // Go only compiles the client, as this uid; the others are started by the agent's.
  const path = client.needs === 'go' ? (process.env['PATH'] ?? '') : systemPath
  const found = await processRunner.run({argv: ['sh', '-c', `command -v ${client.needs}`], env: {PATH: path}})
  const skipped = reason ?? (found.code === 0 ? undefined : `${client.needs} is not installed`)
  describe(client.name, () => {
    if (skipped !== undefined) {
      test(`skipped: ${skipped}`, () => undefined)
      return
    }
    test('accepts the sidecar with the trust variables, and only with them', async () => {
      const argv = await client.argv()
      const run = async (env: Record<string, string>) => {
        const {stdout, stderr} = await network.agent(argv, {
          env: {GIT_TERMINAL_PROMPT: '0', ...env},
          timeoutMs: 60_000,
        })
        return stdout.toString() + stderr
      }
      expect(await run(trust())).toContain(client.says)
      expect(await run({})).toMatch(client.refuses)
    })
  })
}
