import {durationPattern, sizePattern} from '../units.js'
import {choice, flag, list, map, object, text, type SchemaNode} from './node.js'

export const projectNamePattern = '^[a-z0-9](?:[-a-z0-9]{0,30}[a-z0-9])?$'
const variablePattern = '^[A-Za-z_][A-Za-z0-9_]{0,127}$'
export const credentialNamePattern = '^[a-z][a-z0-9-]{0,39}$'
/** Like Docker: the first part is a host when it has a dot or a port, or is `localhost`. */
const registryPattern =
  '^(?:localhost|[a-z0-9-]+(?:\\.[a-z0-9-]+)+|[a-z0-9-]+(?=:))(?::[0-9]{1,5})?(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*$'
const headerPattern = "^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$"

const narrow = {'x-class': 'narrow'} as const
const ask = {'x-class': 'ask'} as const
const operator = {'x-class': 'operator'} as const

export const size = (description: string, more: SchemaNode = {}): SchemaNode =>
  text(description, {pattern: sizePattern, 'x-expected': 'a size such as 8GiB or 500MB', ...more})
const httpsUrl = (description: string, more: SchemaNode = {}): SchemaNode =>
  text(description, {
    pattern: '^https://[^\\s@?#]+$',
    'x-expected': 'an https:// address without user, password, query and fragment',
    ...more,
  })
const variable = (description: string, more: SchemaNode = {}): SchemaNode =>
  text(description, {pattern: variablePattern, 'x-expected': 'the name of an environment variable', ...more})
const credentialName = (description: string, more: SchemaNode = {}): SchemaNode =>
  text(description, {
    pattern: credentialNamePattern,
    'x-expected': 'lower-case letters, digits and dashes, starting with a letter',
    ...more,
  })

export const machine = object('The machine of the project.', {
  driver: choice(
    'How the machine is made. `local` and `ssh` only from the operator.',
    ['auto', 'lima', 'vagrant', 'ssh', 'local', 'none'],
    {
      default: 'auto',
      ...narrow,
    },
  ),
  cpus: {type: 'integer', description: 'Processors.', minimum: 1, maximum: 256, default: 4, ...narrow},
  memory: size('Main memory.', {default: '8GiB', ...narrow}),
  disk: size('Disk.', {default: '60GiB', ...narrow}),
  ssh: object(
    'The server of driver `ssh`.',
    {
      host: text('`user@server`, or a name of your ssh configuration.', {
        pattern: '^(?:[A-Za-z0-9._-]+@)?[A-Za-z0-9:\\[\\].-]+$',
        'x-expected': 'user@server',
      }),
      port: {
        type: 'integer',
        description: 'Port; absent = what your ssh configuration says, else 22.',
        minimum: 1,
        maximum: 65535,
      },
    },
    {required: ['host'], ...operator},
  ),
  image: text(
    'A file of your own instead of the pinned image: a disk image for `lima`, a box for `vagrant`. Absolute, or below `~/`.',
    {pattern: '^(?:~?/).+$', 'x-expected': 'an absolute path', ...operator},
  ),
})

export const cluster = object('The Kubernetes of the project.', {
  kind: choice(
    '`existing` uses a cluster that is there already.',
    ['auto', 'microk8s', 'kubeadm', 'existing'],
    {default: 'auto', ...operator},
  ),
  kubeconfig: text('File outside of the repository; `existing` only.', operator),
  context: text('Context in that file; `existing` only.', operator),
  registry: text('Where the images are pushed, e.g. `registry.example.com/cage`; `existing` only.', {
    pattern: registryPattern,
    'x-expected':
      'a registry host, with a port or a path if need be, without scheme: registry.example.com/cage',
    ...operator,
  }),
  registryAuth: text(
    'File outside of the repository in the format of Docker’s config.json: the account for that registry. `existing` only.',
    operator,
  ),
  storageClass: text('Of the volumes, default the cluster’s own default; `existing` only.', {
    pattern: '^[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?$',
    'x-expected': 'the name of a storage class',
    ...operator,
  }),
})

export const repository = object('Where branches go.', {
  upstream: text('`hosted` is a bare repository inside the cage; else an https:// address.', {
    pattern: '^(?:hosted|https://[^\\s@?#]+)$',
    'x-expected': '`hosted` or an https:// address without user, password, query and fragment',
    default: 'hosted',
    ...ask,
  }),
  credential: credentialName('Credential that the dispatcher alone uses for the upstream.', ask),
  read: list('Further repositories that tasks may fetch.', httpsUrl('Address.'), {default: [], ...ask}),
  base: text('Branch that tasks start from; default: the default branch.', {maxLength: 200, ...narrow}),
  mode: choice('`fork` pushes to a fork of the bot.', ['direct', 'fork'], {default: 'direct', ...ask}),
})

export const budget = object('Hard stops of one task.', {
  tokens: {type: 'integer', description: 'Model tokens.', minimum: 1, ...narrow},
  usd: {type: 'number', description: 'Model cost in US dollars.', minimum: 0, ...narrow},
  time: text('Time of work.', {
    pattern: durationPattern,
    'x-expected': 'a duration such as 90m or 4h',
    ...narrow,
  }),
  upload: size('All that is sent, but to git: addresses, headers and bodies.', narrow),
})

export const task = object('What a task gets.', {
  agent: choice('Agent when --agent is not given.', ['claude', 'codex', 'gemini', 'pi', 'shell'], {
    default: 'claude',
    ...narrow,
  }),
  image: text('`default` or the name of another image.', {default: 'default', ...ask}),
  cpu: {
    type: 'number',
    description: 'Limit in processors.',
    minimum: 0.1,
    maximum: 256,
    default: 2,
    ...narrow,
  },
  memory: size('Limit.', {default: '4GiB', ...narrow}),
  disk: size('Size of the volume.', {default: '10GiB', ...narrow}),
  env: map(
    'Environment of the agent. No secrets: those are credentials.',
    {pattern: variablePattern, 'x-expected': 'the name of an environment variable'},
    {type: 'string', description: 'Value.', maxLength: 32768},
    {default: {}, ...narrow},
  ),
  files: list('Untracked files of the repository that the task needs.', text('Path in the repository.'), {
    default: [],
    ...ask,
  }),
  setup: text('Script of the repository that runs in the pod, as the agent, before it starts.', narrow),
  author: text('Author of commits in the task.', {
    pattern: '^[^<>\\u0000-\\u001f]{1,100} <[^<>@\\s]{1,100}@[^<>@\\s]{1,200}>$',
    'x-expected': 'Name <mail@address>',
    default: 'cage <cage@PROJECT.invalid>',
    ...narrow,
  }),
  budget,
})

const rate = object('Limits of one rule.', {
  rps: {type: 'number', description: 'Requests per second.', minimum: 0.001},
  concurrency: {type: 'integer', description: 'Requests at once.', minimum: 1},
  bytesUp: size('Bytes sent per hour.'),
})

const names = (description: string): SchemaNode => list(description, text('Name.', {maxLength: 200}))

const ruleFields = {
  host: text('Exact name, or `*.` and a suffix of at least two labels.', {maxLength: 255}),
  port: {
    type: 'integer',
    description: 'Port; in `deny` absent = every port.',
    minimum: 1,
    maximum: 65535,
    default: 443,
  },
  scheme: choice('`http` for plain text; default for port 80.', ['https', 'http'], {default: 'https'}),
  methods: list(
    'HTTP methods; absent = all.',
    text('Method.', {pattern: '^[A-Za-z]{1,20}$', 'x-expected': 'an HTTP method such as GET'}),
    {minItems: 1},
  ),
  paths: list(
    'Path globs: `*` inside a segment, `**` across; absent = all.',
    text('Glob.', {pattern: '^/', 'x-expected': 'a path that starts with /'}),
    {minItems: 1},
  ),
  websocket: flag('Whether a WebSocket may be opened.', {default: false}),
  mcp: object('Only MCP calls to these tools and methods.', {
    tools: names('Tools; absent = all.'),
    methods: names('JSON-RPC methods; absent = what calling tools takes.'),
  }),
} satisfies Record<string, SchemaNode>

const rule = object('A rule.', {...ruleFields, rate}, {required: ['host']})
const denyRule = object('A rule.', ruleFields, {required: ['host']})

export const egress = object(
  'What leaves the pod. Sets without order: deny beats allow beats audit; nothing matched = denied.',
  {
    presets: list('Named bundles of rules. `read-the-web` only from the operator.', text('Preset.'), {
      uniqueItems: true,
      default: [],
      ...narrow,
    }),
    allow: list('Let through.', rule, {default: [], ...ask}),
    deny: list('Refused, whatever else allows it.', denyRule, {default: [], ...narrow}),
    audit: list('Let through and recorded as "would be denied".', rule, {default: [], ...ask}),
    routes: map(
      'Endpoints under names of their own, e.g. `inference.local`.',
      {
        pattern: '^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)+$',
        'x-expected': 'a name such as inference.local',
      },
      object(
        'A route.',
        {
          url: httpsUrl('Where it leads; private addresses need the operator.'),
          ca: text('PEM file of the CA that signed it; absent = public roots.'),
          pin: text('SHA-256 of its public key (SPKI) in base64, as `sha256/…`; alone it stands for a CA.', {
            pattern: '^sha256/[A-Za-z0-9+/]{43}=$',
            'x-expected': 'sha256/ and 44 characters of base64',
          }),
        },
        {required: ['url']},
      ),
      {default: {}, ...ask},
    ),
  },
)

export const credentialSource = object(
  'Where the value is found on the computer of the person; exactly one. `command` and `file` only from the operator.',
  {
    env: variable('Environment variable.'),
    dotenv: variable('Variable in the file `.env` of the repository, which git ignores.'),
    file: text('File outside of the repository.', operator),
    command: list('Program and arguments whose first line of output is the value.', text('Word.'), {
      minItems: 1,
      ...operator,
    }),
    keychain: text('Entry of the system keychain: `service` or `service/account`.', {maxLength: 200}),
  },
  {minProperties: 1, maxProperties: 1},
)

const inject = object(
  'Where the value is put on the wire; exactly one of `header`, `basic`, `jsonPointer`, `sigv4`.',
  {
    host: text('The only host that ever receives it.', {maxLength: 255}),
    port: {type: 'integer', description: 'Port.', minimum: 1, maximum: 65535, default: 443},
    header: text('Header.', {pattern: headerPattern, 'x-expected': 'the name of a header'}),
    template: text('Value of the header, `{}` stands for the credential.', {maxLength: 200, default: '{}'}),
    basic: object(
      'Password of Basic authentication.',
      {user: {type: 'string', description: 'User.', maxLength: 200}},
      {required: ['user']},
    ),
    jsonPointer: text('Place in a JSON body (RFC 6901).', {
      pattern: '^(?:/(?:[^~]|~[01])*)+$',
      'x-expected': 'a JSON pointer such as /auth/token',
    }),
    sigv4: object(
      'Signature of AWS (version 4). The value is `keyId:secret` or `keyId:secret:token`; `as` is AWS_ACCESS_KEY_ID.',
      {region: text('Region.'), service: text('Service.')},
      {required: ['region', 'service']},
    ),
  },
  {required: ['host']},
)

export const credential = object(
  'One credential. The value never enters a pod: the agent sees a placeholder.',
  {
    name: credentialName('Name.'),
    from: credentialSource,
    inject,
    as: variable('Variable in the pod that holds the placeholder.'),
  },
  {required: ['name']},
)

export const git = object('What a task may push.', {
  push: object('Beyond fast-forwards of its own branch.', {
    force: flag('Rewrite its own branch.', {default: false, ...ask}),
    delete: flag('Delete its own branch.', {default: false, ...ask}),
    tags: list('Tags: `v1.2` or `prefix/*`.', text('Tag.', {maxLength: 200}), {default: [], ...ask}),
    deny: list(
      'Paths that only people change: globs, or `ci` for the files of every CI system.',
      text('Glob.', {maxLength: 1024}),
      {
        default: ['ci', '.gitmodules', '**/.gitattributes'],
        ...ask,
      },
    ),
    maxBlob: size('Largest file.', {default: '10MiB', ...ask}),
    author: choice(
      'Commits that are not by `task.author`: let through, warn, or only its own.',
      ['any', 'warn', 'own'],
      {default: 'any', ...ask},
    ),
  }),
  secrets: object('What a secret in a pushed object does.', {
    onFinding: choice('Refuse, hold for a person, or warn.', ['deny', 'hold', 'warn'], {
      default: 'deny',
      ...ask,
    }),
    allow: list(
      'Values that look like secrets and are none, each as the SHA-256 of the value.',
      text('SHA-256.', {pattern: '^[0-9a-f]{64}$', 'x-expected': '64 lower-case hex digits'}),
      {default: [], ...ask},
    ),
  }),
})

/** Fields that `cage.yaml` and one project of the operator's file share. */
export const projectSections = {machine, cluster, repository, task, egress, git} as const

export const projectSchema = object('cage.yaml, in the root of a repository. Every field may be left out.', {
  version: {type: 'integer', description: 'Version of this format.', const: 1, default: 1, ...narrow},
  project: text('Name of the project; default: that of the folder.', {
    pattern: projectNamePattern,
    'x-expected': 'lower-case letters, digits and dashes, at most 32',
    ...narrow,
  }),
  ...projectSections,
  credentials: list('Credentials that tasks use without holding them.', credential, {default: [], ...ask}),
})
