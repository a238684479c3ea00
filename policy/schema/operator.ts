import {choice, flag, list, map, object, text, type SchemaNode} from './node.js'
import {
  credentialNamePattern,
  credentialSource,
  projectNamePattern,
  projectSchema,
  projectSections,
} from './project.js'

const port: SchemaNode = {type: 'integer', description: 'Port.', minimum: 1, maximum: 65535}
const sourceKinds = ['env', 'dotenv', 'file', 'command', 'keychain']

const credentialSources = map(
  'Where values are found, by name of the credential.',
  {pattern: credentialNamePattern, 'x-expected': 'the name of a credential'},
  credentialSource,
)

const ceiling = object(
  'What any cage.yaml may ask for. What is absent here is as shipped: all presets but read-the-web, public hosts and credentials by `cage trust`.',
  {
    egress: object('Egress.', {
      presets: list('Presets.', text('Preset.')),
      hosts: list('Hosts: exact names or `*.` and a suffix.', text('Host.', {maxLength: 255})),
      routes: list(
        'Addresses that routes may lead to.',
        text('Address.', {pattern: '^https://', 'x-expected': 'an https:// address'}),
      ),
    }),
    credentials: list(
      'Credentials.',
      object(
        'One credential.',
        {
          name: text('Name.'),
          from: list('Kinds of sources.', choice('Kind.', sourceKinds)),
          hosts: list('Hosts that may receive it.', text('Host.', {maxLength: 255})),
        },
        {required: ['name']},
      ),
    ),
  },
)

const network = object('The network around the machine.', {
  resolver: list(
    'Addresses of the resolver; default: the one of the machine.',
    text('`address` or `address:port`.'),
  ),
  upstreamProxy: text(
    'HTTP proxy towards the internet. It resolves names: the address guard does not cover it.',
    {
      pattern: '^http://[^\\s/@?#]+/?$',
      'x-expected': 'http://host:port',
    },
  ),
  hosts: map(
    'How to reach a name; whether it is allowed is said under `egress`.',
    {pattern: '^[a-z0-9_]([a-z0-9_.-]{0,251}[a-z0-9_])?$', 'x-expected': 'a host name in lower case'},
    object(
      'A way to a name.',
      {
        address: text('IP address.'),
        port: {...port, default: 443},
        ca: text('PEM file of the CA that signs it; absent = public roots.'),
      },
      {required: ['address']},
    ),
  ),
  allowAddresses: list(
    'Special ranges that are the internet on this network, /28 or longer.',
    text('`address/prefix`.'),
  ),
})

const project = object('Fields for one project, `operator` class included; they need no approval.', {
  ...projectSections,
  credentials: credentialSources,
})

export const operatorSchema = object("The operator's own file. Nothing in a repository can change it.", {
  version: {type: 'integer', description: 'Version of this format.', const: 1, default: 1},
  defaults: object('For every project; cage.yaml may say otherwise where it is allowed to.', {
    machine: projectSections.machine,
    cluster: projectSections.cluster,
    task: projectSections.task,
    egress: projectSections.egress,
    git: projectSections.git,
  }),
  projects: map(
    'By name of the project.',
    {pattern: projectNamePattern, 'x-expected': 'the name of a project'},
    project,
  ),
  ceiling,
  github: object(
    'Who the dispatcher is at GitHub. `app`, `installation` and `key` belong together; without them `repository.credential` is a token.',
    {
      app: {type: 'integer', description: 'Id of the GitHub App.', minimum: 1},
      installation: {type: 'integer', description: 'Id of its installation.', minimum: 1},
      key: credentialSource,
      allowClassicToken: flag(
        'Take a classic token (`ghp_…`) as `repository.credential`, which opens every repository of its owner.',
        {default: false},
      ),
    },
  ),
  import: list('Own memory and commands, read-only in every task.', text('File or folder.')),
  network,
})

/** Both files as one schema, for editors: `$defs/project` and `$defs/operator`. */
export const configSchema: SchemaNode = {
  $schema: 'https://json-schema.org/draft/2020-12/schema',
  $id: 'cage-config-1',
  title: 'cage',
  $ref: '#/$defs/project',
  $defs: {project: projectSchema, operator: operatorSchema},
}
