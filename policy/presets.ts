/** Bundles of egress rules as data. Registries are read only; model providers have no path for files of others. */
export interface Preset {
  description: string
  /** only the operator can choose it: an opening that `cage status` shows */
  operatorOnly?: boolean
  /** hosts that speak a model API: a finding by pattern there is recorded, not denied */
  modelHosts?: readonly string[]
  rules: readonly PresetRule[]
}

export interface PresetRule {
  /** second half of the rule's id, after `preset:<name>/` */
  id: string
  host: string
  port?: number
  scheme?: 'https' | 'http'
  methods: readonly string[]
  paths?: readonly string[]
  urlBytes?: number
  /** distinct names in the life of a task */
  hosts?: number
  rate?: {rps?: number; concurrency?: number; bytesUp?: number}
}

const read = ['GET', 'HEAD'] as const

export const presets: Readonly<Record<string, Preset>> = {
  anthropic: {
    description: 'Messages API of Anthropic, without uploads',
    modelHosts: ['api.anthropic.com'],
    rules: [
      {
        id: 'messages',
        host: 'api.anthropic.com',
        methods: ['POST'],
        paths: ['/v1/messages', '/v1/messages/count_tokens'],
      },
      {
        id: 'models',
        host: 'api.anthropic.com',
        methods: read,
        paths: ['/', '/v1/models', '/v1/models/*', '/api/hello', '/api/oauth/profile', '/api/oauth/usage'],
      },
    ],
  },
  openai: {
    description: 'model APIs of OpenAI, without uploads',
    modelHosts: ['api.openai.com', 'chatgpt.com'],
    rules: [
      {
        id: 'responses',
        host: 'api.openai.com',
        methods: ['POST'],
        paths: [
          '/v1/responses',
          '/v1/chat/completions',
          '/v1/completions',
          '/v1/embeddings',
          '/v1/moderations',
        ],
      },
      {
        id: 'models',
        host: 'api.openai.com',
        methods: read,
        paths: ['/v1/models', '/v1/models/*', '/v1/responses/*'],
      },
      {id: 'codex', host: 'chatgpt.com', methods: ['GET', 'HEAD', 'POST'], paths: ['/backend-api/codex/**']},
    ],
  },
  google: {
    description: 'Gemini API of Google, without uploads',
    modelHosts: ['generativelanguage.googleapis.com', 'cloudcode-pa.googleapis.com'],
    rules: [
      {
        id: 'generate',
        host: 'generativelanguage.googleapis.com',
        methods: ['POST'],
        paths: ['/v1/models/*', '/v1beta/models/*', '/v1beta/openai/chat/completions'],
      },
      {
        id: 'models',
        host: 'generativelanguage.googleapis.com',
        methods: read,
        paths: ['/v1/models', '/v1/models/*', '/v1beta/models', '/v1beta/models/*'],
      },
      {id: 'code-assist', host: 'cloudcode-pa.googleapis.com', methods: ['POST'], paths: ['/v1internal:*']},
    ],
  },
  npm: {
    description: 'packages of npm and Yarn, read only',
    rules: [
      {id: 'registry', host: 'registry.npmjs.org', methods: read},
      {id: 'yarn', host: 'registry.yarnpkg.com', methods: read},
    ],
  },
  pypi: {
    description: 'packages of Python, read only',
    rules: [
      {id: 'index', host: 'pypi.org', methods: read},
      {id: 'files', host: 'files.pythonhosted.org', methods: read},
    ],
  },
  crates: {
    description: 'crates of Rust, read only',
    rules: [
      {id: 'index', host: 'index.crates.io', methods: read},
      {id: 'site', host: 'crates.io', methods: read, paths: ['/api/v1/crates/**']},
      {id: 'files', host: 'static.crates.io', methods: read},
    ],
  },
  go: {
    description: 'modules of Go and their checksums, read only',
    rules: [
      {id: 'proxy', host: 'proxy.golang.org', methods: read},
      {id: 'checksums', host: 'sum.golang.org', methods: read},
    ],
  },
  maven: {
    description: 'artifacts of Maven Central and Gradle, read only',
    rules: [
      {id: 'central', host: 'repo.maven.apache.org', methods: read},
      {id: 'central-1', host: 'repo1.maven.org', methods: read},
      {id: 'gradle-plugins', host: 'plugins.gradle.org', methods: read},
      {id: 'gradle-artifacts', host: 'plugins-artifacts.gradle.org', methods: read},
      {id: 'gradle', host: 'services.gradle.org', methods: read},
      {id: 'gradle-files', host: 'downloads.gradle.org', methods: read},
    ],
  },
  debian: {
    description: 'packages of Debian, read only',
    rules: [
      {id: 'archive', host: 'deb.debian.org', methods: read},
      {id: 'archive-http', host: 'deb.debian.org', port: 80, scheme: 'http', methods: read},
      {id: 'security', host: 'security.debian.org', methods: read},
      {id: 'security-http', host: 'security.debian.org', port: 80, scheme: 'http', methods: read},
    ],
  },
  github: {
    description: 'git and API of GitHub: decided by the dispatcher, so there is no rule here',
    rules: [],
  },
  'read-the-web': {
    description: 'reading any public host; what an address says can leave this way',
    operatorOnly: true,
    rules: [
      {
        id: 'any',
        host: '*',
        methods: read,
        urlBytes: 2048,
        hosts: 100,
        rate: {rps: 5, concurrency: 8, bytesUp: 10 * 1024 * 1024},
      },
    ],
  },
}

export const presetNames = Object.keys(presets)

export function presetOf(name: string): Preset | undefined {
  return Object.hasOwn(presets, name) ? presets[name] : undefined
}
