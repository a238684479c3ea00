import {build} from 'esbuild'

/** docs/reference/cage-yaml.md from the schema in policy/schema and the presets. */
export async function configurationPage() {
  const {projectSchema, operatorSchema, presets} = await load()
  return [
    '# cage.yaml and the operator’s file',
    '',
    'Generated from the schema that validates both files (`policy/schema/`) by `npm run docs`. `cage init` writes a commented',
    '`cage.yaml`; it is optional. Unknown keys and bad values are all reported together, with line and column, and nothing starts.',
    '',
    '*Class*: who may set a field. **narrow** needs nobody as long as it stays within the default or narrows it; **ask** waits for',
    '`cage trust`; **operator** counts only in the operator’s own file. Compared are compiled results, never text.',
    '',
    '## cage.yaml',
    '',
    ...fieldTable(projectSchema, true),
    '',
    '## The operator’s file',
    '',
    '`$XDG_CONFIG_HOME/cage/config.yaml`, usually `~/.config/cage/config.yaml`. Nothing in a repository can change it. `defaults` and',
    '`projects.NAME` take the sections of cage.yaml, and there the fields of class operator count.',
    '',
    ...fieldTable(withoutSections(operatorSchema), false),
    '',
    '## Presets',
    '',
    '| preset | what it opens | hosts |',
    '|---|---|---|',
    ...Object.entries(presets).map(([name, preset]) => {
      const hosts = [...new Set(preset.rules.map((rule) => `\`${rule.host}\``))].join(' ')
      return `| \`${name}\` | ${cell(preset.description)}${preset.operatorOnly ? ' (operator only)' : ''} | ${hosts} |`
    }),
    '',
  ].join('\n')
}

async function load() {
  const result = await build({
    bundle: true,
    format: 'esm',
    packages: 'external',
    platform: 'node',
    stdin: {
      contents: [
        "export {projectSchema} from './policy/schema/project.ts'",
        "export {operatorSchema} from './policy/schema/operator.ts'",
        "export {presets} from './policy/presets.ts'",
      ].join('\n'),
      resolveDir: process.cwd(),
    },
    write: false,
  })
  const code = Buffer.from(result.outputFiles[0].contents).toString('base64')
  return import(`data:text/javascript;base64,${code}`)
}

/** The operator's file repeats the sections of cage.yaml under two keys: one row each is enough. */
function withoutSections(schema) {
  const {defaults, projects, ...rest} = schema.properties
  const short = ({description, type}) => ({description, type})
  return {
    ...schema,
    properties: {version: rest.version, defaults: short(defaults), projects: short(projects), ...rest},
  }
}

const cell = (text) => String(text).replaceAll('|', '\\|').replaceAll('\n', ' ')

function fieldTable(schema, classes) {
  const head = classes
    ? ['| field | value | default | class | |', '|---|---|---|---|---|']
    : ['| field | value | default | |', '|---|---|---|---|']
  const rows = []
  walk(schema, '', undefined, (path, node, inherited) => {
    const value =
      node.const !== undefined
        ? `\`${node.const}\``
        : node.enum
          ? node.enum.map((one) => `\`${one}\``).join(' ')
          : kind(node)
    const standard =
      node.default === undefined
        ? ''
        : `\`${typeof node.default === 'string' ? node.default : JSON.stringify(node.default)}\``
    const columns = [
      `\`${path}\``,
      value,
      standard,
      ...(classes ? [inherited ?? ''] : []),
      node.description ?? '',
    ]
    rows.push(`| ${columns.map(cell).join(' | ')} |`)
  })
  return [...head, ...rows]
}

/** Calls `leaf` for each field; containers without fields of their own are leaves. */
function walk(node, path, inherited, leaf) {
  const own = node['x-class'] ?? inherited
  for (const [name, child] of Object.entries(node.properties ?? {})) {
    const here = path === '' ? name : `${path}.${name}`
    const childClass = child['x-class'] ?? own
    if (child.properties) {
      walk(child, here, childClass, leaf)
    } else {
      leaf(here, child, childClass)
      if (child.items?.properties) walk(child.items, `${here}[]`, child.items['x-class'] ?? childClass, leaf)
      if (child.additionalProperties?.properties)
        walk(child.additionalProperties, `${here}.NAME`, childClass, leaf)
    }
  }
}

function kind(node) {
  if (node.type === 'array') return node.items?.properties ? 'list' : `list of ${kind(node.items ?? {})}`
  if (node.type === 'object') return 'map'
  return node['x-expected'] ?? node.type ?? ''
}
