const cell = (text) => String(text).replaceAll('|', '\\|').replaceAll('\n', ' ')

/** docs/reference/cli.md from oclif's manifest. */
export function commandPage(manifest) {
  const commands = Object.values(manifest.commands)
    .filter((command) => !command.hidden)
    .sort((a, b) => a.id.localeCompare(b.id))
  const global = new Map()
  for (const command of commands) {
    for (const flag of Object.values(command.flags))
      if (flag.helpGroup === 'GLOBAL') global.set(flag.name, flag)
  }
  const without = commands
    .filter((command) => !command.enableJsonFlag)
    .map((command) => `\`${name(command)}\``)
  return [
    '# Commands',
    '',
    'Generated from the commands themselves by `npm run docs`. Results go to standard output, progress to standard error;',
    `\`--json\` works everywhere${without.length > 0 ? ` but in ${without.join(', ')}` : ''}. Exit codes: [exit-codes.md](exit-codes.md).`,
    '',
    '| command | |',
    '|---|---|',
    ...commands.map(
      (command) => `| [\`cage ${name(command)}\`](#${anchor(command)}) | ${cell(summary(command))} |`,
    ),
    '',
    '## Flags of every command',
    '',
    ...flagTable([...global.values()]),
    ...commands.flatMap(section),
  ].join('\n')
}

const name = (command) => command.id.replaceAll(':', ' ')
const anchor = (command) => `cage-${command.id.replaceAll(':', '-')}`
const summary = (command) => (command.summary ?? command.description ?? '').split('\n')[0]

function section(command) {
  const args = Object.values(command.args ?? {})
  const flags = Object.values(command.flags).filter((flag) => flag.helpGroup !== 'GLOBAL' && !flag.hidden)
  const usage = args.map((arg) => (arg.required ? arg.name.toUpperCase() : `[${arg.name.toUpperCase()}]`))
  const rest = command.strict === false ? ['[-- …]'] : []
  const words = ['cage', name(command), ...usage, ...(flags.length > 0 ? ['[FLAGS]'] : []), ...rest]
  return [
    '',
    `## cage ${name(command)}`,
    '',
    command.description ?? summary(command),
    '',
    '```',
    words.join(' '),
    '```',
    ...(args.length > 0
      ? [
          '',
          '| argument | |',
          '|---|---|',
          ...args.map((arg) => `| \`${arg.name}\` | ${cell(arg.description ?? '')} |`),
        ]
      : []),
    ...(flags.length > 0 ? ['', ...flagTable(flags)] : []),
    ...examples(command),
  ]
}

function flagTable(flags) {
  const rows = flags
    .sort((a, b) => a.name.localeCompare(b.name))
    .map((flag) => {
      const long = flag.allowNo ? `--[no-]${flag.name}` : `--${flag.name}`
      const value =
        flag.type === 'option' ? ` ${(flag.options ?? [flag.helpValue ?? '<value>']).join('|')}` : ''
      const names = `${flag.char ? `-${flag.char}, ` : ''}${long}${value}`
      const notes = [flag.description ?? flag.summary ?? '']
      if (flag.default !== undefined && flag.default !== false) notes.push(`Default: \`${flag.default}\``)
      if (flag.env) notes.push(`Environment: \`${flag.env}\``)
      return `| \`${cell(names)}\` | ${cell(notes.join('. '))} |`
    })
  return ['| flag | |', '|---|---|', ...rows, '']
}

function examples(command) {
  const lines = (command.examples ?? []).map((example) => {
    const text = typeof example === 'string' ? example : example.command
    return text.replaceAll('<%= config.bin %>', 'cage').replaceAll('<%= command.id %>', name(command))
  })
  return lines.length > 0 ? ['', '```sh', ...lines, '```'] : []
}
