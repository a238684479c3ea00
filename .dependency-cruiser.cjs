/** Who may import whom: the arrows of docs/architecture.md as a failing check. */
const rooms = [
  'cli',
  'tasks',
  'provision',
  'kube',
  'manifests',
  'policy',
  'scan',
  'core',
  'proxy',
  'dispatcher',
]
const may = {
  core: [],
  scan: ['core'],
  policy: ['core'],
  kube: ['core'],
  manifests: ['policy', 'core'],
  tasks: ['manifests', 'kube', 'policy', 'scan', 'core'],
  provision: ['manifests', 'kube', 'policy', 'core'],
  proxy: ['policy', 'scan', 'core'],
  dispatcher: ['policy', 'scan', 'core'],
  cli: ['tasks', 'provision', 'policy', 'kube', 'manifests', 'scan', 'core'],
}
const only = (library, room) => ({
  name: `${library}-only-in-${room.replaceAll('/', '-')}`,
  severity: 'error',
  from: {path: `^(${rooms.join('|')})/`, pathNot: `^${room}/`},
  to: {path: `node_modules/${library}(/|$)`, dependencyTypesNot: ['type-only']},
})
module.exports = {
  forbidden: [
    ...rooms.map((room) => ({
      name: `${room}-imports`,
      severity: 'error',
      from: {path: `^${room}/`},
      to: {path: `^(${rooms.filter((r) => r !== room && !may[room].includes(r)).join('|')})/`},
    })),
    {
      name: 'no-circular',
      severity: 'error',
      from: {},
      to: {circular: true, viaOnly: {dependencyTypesNot: ['type-only']}},
    },
    {
      name: 'no-orphan-tests',
      severity: 'error',
      from: {path: `^(${rooms.join('|')})/`},
      to: {path: '^test/'},
    },
    only('@oclif', 'cli'),
    only('@kubernetes/client-node', 'kube'),
    only('ssh2', 'provision/transport'),
    only('handlebars', 'manifests'),
  ],
  options: {
    doNotFollow: {path: 'node_modules'},
    tsConfig: {fileName: 'tsconfig.json'},
    tsPreCompilationDeps: true,
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'require', 'node', 'default', 'types'],
    },
  },
}
