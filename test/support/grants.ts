import type {EgressGrant, EgressRule, GitGrant} from '../../policy/grant.js'

/** Valid grants for tests; override what a test is about. */
export function egressGrant(over: Partial<EgressGrant> = {}): EgressGrant {
  return {
    version: 1,
    project: 'shop-0a1b2c3d',
    task: 'fix',
    revision: 1,
    dispatcher: {address: '10.96.0.20', port: 443, ca: 'PEM', hosts: ['git.cage.internal']},
    resolver: ['10.0.2.3'],
    rules: [],
    credentials: [],
    hosts: [],
    routes: [],
    allowAddresses: [],
    detectors: {audit: []},
    budget: {},
    ...over,
  }
}

export function egressRule(over: Partial<EgressRule> = {}): EgressRule {
  return {id: 'r', effect: 'allow', host: 'api.example.com', port: 443, scheme: 'https', ...over}
}

export function gitGrant(over: Partial<GitGrant> = {}): GitGrant {
  return {
    version: 1,
    project: 'shop-0a1b2c3d',
    task: 'fix',
    revision: 1,
    principal: 'task',
    upstream: {kind: 'hosted', url: 'https://git.cage.internal/shop.git'},
    repository: 'shop.git',
    branch: 'fix',
    base: 'main',
    read: [],
    push: {
      refs: ['refs/heads/fix'],
      force: false,
      delete: false,
      tags: [],
      deny: ['ci', '.gitmodules', '**/.gitattributes'],
      limits: {packBytes: 1e8, blobBytes: 1e7, objects: 50000, commits: 500, refs: 8, seconds: 120},
    },
    secrets: {onFinding: 'deny'},
    ...over,
  }
}
