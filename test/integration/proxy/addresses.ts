/** Who lives where in the test's internet. Public-looking addresses exist inside the namespace only. */
export const world = {
  gateway: '10.99.0.1',
  pod: '10.99.0.2',
  gateway6: 'fd99::1',
  pod6: 'fd99::2',
  publicHost: '45.33.32.10',
  http2Host: '45.33.32.20',
  grpcHost: '45.33.32.21',
  canary: '45.33.32.66',
  foreignResolver: '8.8.8.8',
  metadata: '169.254.169.254',
  resolver: '10.0.2.3',
  dispatcher: '10.96.0.7',
  privateHost: '192.168.77.5',
  /** of a documentation range: special, unless the operator says it is the internet here */
  special: '203.0.113.7',
  specialNeighbour: '203.0.113.8',
  companyProxy: '10.77.0.3',
  public6: '2001:4860:4860::8888',
} as const

/** What the resolver knows. */
export const zone: Record<string, string> = {
  'special.test': world.special,
  'neighbour.test': world.specialNeighbour,
  'allowed.test': world.publicHost,
  'api.allowed.test': world.publicHost,
  'registry.npmjs.org': world.publicHost,
  'pypi.org': world.publicHost,
  'files.pythonhosted.org': world.publicHost,
  'proxy.golang.org': world.publicHost,
  'index.crates.io': world.publicHost,
  'static.crates.io': world.publicHost,
  'repo.maven.apache.org': world.publicHost,
  'deb.debian.org': world.publicHost,
  'chatgpt.com': world.publicHost,
  'api.anthropic.com': world.publicHost,
  'api.openai.com': world.publicHost,
  'generativelanguage.googleapis.com': world.publicHost,
  'model.test': world.publicHost,
  'vault.test': world.publicHost,
  'plain.test': world.publicHost,
  'a.wild.test': world.publicHost,
  'b.wild.test': world.publicHost,
  'limited.test': world.publicHost,
  'mcp.test': world.publicHost,
  'audited.test': world.publicHost,
  'ws.test': world.publicHost,
  'h2.test': world.http2Host,
  'grpc.test': world.grpcHost,
  'canary.test': world.canary,
  'rebind.test': world.privateHost,
  'metadata.test': world.metadata,
  'loopback.test': '127.0.0.1',
  'synthetic.test': '198.18.0.1',
}

/** Names whose answers change: one list of addresses for each time they are asked, the last one for ever. */
export const changing: Record<string, string[][]> = {
  'flip.test': [[world.publicHost], [world.privateHost]],
  'mixed.test': [[world.privateHost, world.publicHost, world.metadata]],
}
