import {cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync} from 'node:fs'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {afterAll, describe, expect, it} from '@jest/globals'
import {baseObjects} from '../../../manifests/base.js'
import {dispatcherObjects} from '../../../manifests/dispatcher.js'
import {parseObjects} from '../../../manifests/objects.js'
import {renderForPeople, toYaml} from '../../../manifests/render-for-people.js'
import {taskGrant} from '../../../manifests/task-objects.js'
import {taskPod} from '../../../manifests/task-pod.js'
import {lintTemplate} from '../../../manifests/template-lint.js'
import {Templates} from '../../../manifests/templates.js'
import {baseView, dispatcherView, identity, taskPodView} from '../../support/manifest-views.js'

const own = readdirSync('templates')

const scratch = mkdtempSync(join(tmpdir(), 'cage-templates-'))
afterAll(() => rmSync(scratch, {recursive: true}))

/** The shipped templates, one of them changed. */
function withChange(name: string, change: (text: string) => string): Templates {
  const directory = mkdtempSync(join(scratch, 'set-'))
  cpSync('templates', directory, {recursive: true})
  writeFileSync(join(directory, name), change(readFileSync(join('templates', name), 'utf8')))
  return new Templates(directory)
}

describe('templates', () => {
  it.each(own)('%s can do nothing but insert quoted values', (name) => {
    expect(lintTemplate(readFileSync(join('templates', name), 'utf8'))).toEqual([])
  })

  it.each([
    ['a: {{name}}', '1:4'],
    ['a: {{this}}', '1:4'],
    ['a:\nb: {{{name}}}', '2:4'],
    ['a: {{&name}}', '1:4'],
    ['{{#if a}}x{{/if}}', '1:1'],
    ['{{#each a}}{{yaml b}}{{/each}}', '1:1'],
    ['{{> other}}', '1:1'],
    ['{{#> other}}{{/other}}', '1:1'],
    ['{{yaml a b}}', '1:1'],
    ['{{yaml (lookup a "b")}}', '1:1'],
    ['{{yaml "text"}}', '1:1'],
    ['{{yaml ../a}}', '1:1'],
    ['{{yaml a.b}}', '1:1'],
    ['{{yaml @root}}', '1:1'],
    ['{{yaml a x=b}}', '1:1'],
    ['{{lookup a}}', '1:1'],
    ['{{yaml a', '1:1'],
  ])('refuses %j', (text, where) => {
    expect(lintTemplate(text)).toEqual([expect.stringContaining(`${where} `)])
  })

  it('refuses a template that the lint refuses, and says where', () => {
    const templates = withChange('task-pod.yaml.hbs', (text) => `${text}\n{{{name}}}\n`)
    expect(() => taskPod(taskPodView(), templates)).toThrow(
      /task-pod\.yaml\.hbs: \d+:1 a value without quoting/,
    )
  })

  it('keeps every value one value', () => {
    const hostile = 'x\nspec:\n  hostNetwork: true\n# "\' {{yaml name}} \u2028 \u0085 no 1.10 &a *b !!js'
    const text = new Templates().render('task-config.yaml', {
      name: 'config-a',
      namespace: 'ns',
      labels: {},
      annotations: {hostile},
      data: {prompt: hostile, no: 'no', number: '1.10'},
      binaryData: {},
    })
    const [object] = parseObjects('x', text, ['ConfigMap'])
    expect(object).toMatchObject({
      data: {prompt: hostile, no: 'no', number: '1.10'},
      metadata: {annotations: {hostile}},
    })
    expect(object).not.toHaveProperty('spec')
  })

  it('refuses a view without a value', () => {
    expect(() => new Templates().render('storage.yaml', {})).toThrow(
      /template storage.yaml: no value for name/,
    )
  })

  it('quotes for readers of YAML 1.1', () => {
    const yaml = toYaml([
      {apiVersion: 'v1', kind: 'X', metadata: {name: 'a'}, data: {a: 'no', b: '12:30:45', c: '0755', d: 'y'}},
    ])
    expect(yaml).toContain('a: "no"')
    expect(yaml).toContain('b: "12:30:45"')
    expect(yaml).toContain('c: "0755"')
  })
})

describe('manifests for people', () => {
  it('show names of secrets, not their values', () => {
    const view = {...identity, revision: 1, files: {handle: 'cgt_value'}}
    const text = renderForPeople([taskGrant(view), ...dispatcherObjects(dispatcherView())])
    expect(text).toContain('handle: (not shown)')
    expect(text).not.toContain(Buffer.from('cgt_value').toString('base64'))
    expect(text).not.toContain(Buffer.from(dispatcherView().tls.key).toString('base64'))
    expect(text).toContain('kind: Deployment')
  })
})

describe('an override of a template', () => {
  it('may add words for people', () => {
    const templates = withChange('task-pod.yaml.hbs', (text) => text.replace('spec:', '# our cluster\nspec:'))
    expect(taskPod(taskPodView(), templates)).toEqual(taskPod(taskPodView()))
  })

  it.each<[string, (text: string) => string]>([
    ['drops the fence', (text) => text.replace('- {{yaml fence}}', '')],
    ['drops the probe', (text) => text.replace('- {{yaml probe}}', '')],
    ['adds a container', (text) => text.replace('  containers:', '  containers:\n    - {name: x, image: y}')],
    ['uses the host network', (text) => text.replace('spec:', 'spec:\n  hostNetwork: true')],
    [
      'mounts a token',
      (text) => text.replace('automountServiceAccountToken: false', 'automountServiceAccountToken: true'),
    ],
    ['drops the security context', (text) => text.replace('securityContext: {{yaml securityContext}}', '')],
    ['drops user namespaces', (text) => text.replace('hostUsers: {{yaml hostUsers}}', '')],
    ['adds an object', (text) => `${text}---\napiVersion: v1\nkind: Pod\nmetadata: {name: other}\n`],
    ['says a key twice', (text) => text.replace('dnsPolicy: None', 'dnsPolicy: None\n  dnsPolicy: Default')],
    ['replaces the whole', () => 'apiVersion: v1\nkind: Pod\nmetadata: {name: task-x}\nspec: {}\n'],
  ])('is refused when it %s', (_, change) => {
    expect(() => taskPod(taskPodView(), withChange('task-pod.yaml.hbs', change))).toThrow(/is not sound/)
  })

  it.each<[string, string, (text: string) => string]>([
    [
      'opens the network',
      'task-namespace.yaml.hbs',
      (text) => text.replace('policyTypes: [Ingress, Egress]', 'policyTypes: [Ingress]'),
    ],
    [
      'hands out tokens',
      'task-namespace.yaml.hbs',
      (text) => text.replace('automountServiceAccountToken: false', ''),
    ],
    [
      'lets no fence start',
      'dispatcher-namespace.yaml.hbs',
      (text) => text.replace('enforce: privileged', 'warn: privileged'),
    ],
    ['only warns', 'admission.yaml.hbs', (text) => text.replace('[Deny]', '[Warn]')],
    [
      'fails open',
      'admission.yaml.hbs',
      (text) => text.replace('failurePolicy: Fail', 'failurePolicy: Ignore'),
    ],
    ['looks at new pods only', 'admission.yaml.hbs', (text) => text.replace('[CREATE, UPDATE]', '[CREATE]')],
    [
      'skips debug containers',
      'admission.yaml.hbs',
      (text) => text.replace('pods/ephemeralcontainers, ', ''),
    ],
    [
      'drops the validations',
      'admission.yaml.hbs',
      (text) => text.replace('validations: {{yaml validations}}', 'validations: []'),
    ],
    [
      'binds elsewhere',
      'admission.yaml.hbs',
      (text) => text.replace('metadata.name: {{yaml namespace}}', 'metadata.name: other'),
    ],
    [
      'excludes by a condition',
      'admission.yaml.hbs',
      (text) =>
        text.replace(
          'failurePolicy: Fail',
          "failurePolicy: Fail\n  matchConditions: [{name: x, expression: 'false'}]",
        ),
    ],
    [
      'excludes by a name',
      'admission.yaml.hbs',
      (text) =>
        text.replace(
          '    resourceRules:',
          '    excludeResourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [pods]}]\n    resourceRules:',
        ),
    ],
    [
      'changes a variable',
      'admission.yaml.hbs',
      (text) => text.replace('variables: {{yaml variables}}', 'variables: [{name: init, expression: "[]"}]'),
    ],
  ])('of the base is refused when it %s', (_, name, change) => {
    expect(() => baseObjects(baseView(), withChange(name, change))).toThrow(/base is not sound/)
  })

  it('of the dispatcher is refused when it changes the pod', () => {
    const templates = withChange('dispatcher.yaml.hbs', (text) => text.replace('- {{yaml git}}', ''))
    expect(() => dispatcherObjects(dispatcherView(), templates)).toThrow(/containers are gate, not gate, git/)
  })
})
