import {symlinkSync, writeFileSync} from 'node:fs'
import {join} from 'node:path'
import {describe, expect, test} from '@jest/globals'
import {createAuthority, parseAuthority} from '../../../core/certificates/authority.js'
import {loadProject} from '../../../policy/load.js'
import {failure, folderOf, load} from '../../support/config-loading.js'

describe('who may say what', () => {
  const excess = async (project: string, operator?: string) => {
    const {code, exitCode, message, hints} = await failure(project, operator)
    expect([code, exitCode]).toEqual(['ABOVE_CEILING', 4])
    return {message, hints: hints.join('\n')}
  }

  test.each([
    [
      'machine: {driver: local}',
      'cage.yaml:1:19 machine.driver',
      'projects: {shop: {machine: {driver: local}}}',
    ],
    ['machine: {driver: ssh}', 'machine.driver', 'projects: {shop: {machine: {driver: ssh}}}'],
    [
      'machine: {ssh: {host: me@server}}',
      'machine.ssh',
      'projects: {shop: {machine: {ssh: {"host":"me@server"}}}}',
    ],
    [
      'cluster: {kind: existing, kubeconfig: ~/.kube/x}',
      'cluster.kubeconfig',
      'projects: {shop: {cluster: {kubeconfig:',
    ],
    [
      'credentials: [{name: a, from: {command: [id]}}]',
      'credentials[0].from.command',
      '{a: {"command":["id"]}}',
    ],
    [
      'credentials: [{name: a, from: {file: ~/.netrc}}]',
      'credentials[0].from.file',
      '{a: {"file":"~/.netrc"}}',
    ],
    ['egress: {presets: [read-the-web]}', 'egress.presets[0]', 'presets: [read-the-web]'],
    [
      'egress: {routes: {a.local: {url: "https://192.168.1.20:8443"}}}',
      'routes."a.local".url',
      'routes: ["https://192.168.1.20:8443"]',
    ],
  ])('%s needs the operator', async (text, place, line) => {
    const {message, hints} = await excess(text)
    expect(message).toContain(place)
    expect(hints).toContain(line)
    expect(hints).toMatch(/add to .*config\.yaml/)
  })

  test('each line that a refusal names lifts it', async () => {
    for (const text of [
      'machine: {driver: local}',
      'machine: {ssh: {host: me@server}}',
      'credentials: [{name: a, from: {command: [id]}}]',
      'egress: {presets: [read-the-web]}',
      'egress: {routes: {a.local: {url: "https://192.168.1.20:8443"}}}',
    ]) {
      const {hints} = await excess(text)
      const line = /config\.yaml: (.*)$/m.exec(hints)?.[1]
      await expect(load(text, line)).resolves.toBeDefined()
    }
    const ceiling = 'ceiling: {egress: {presets: [npm], hosts: ["*.example.com"]}, credentials: []}'
    const first = await excess('egress: {presets: [pypi]}', ceiling)
    expect(first.hints).toContain('ceiling: {egress: {presets: [npm, pypi]}}')
  })

  test('the ceiling bounds presets, hosts, routes and credentials', async () => {
    const ceiling =
      'ceiling: {egress: {presets: [npm], hosts: ["*.example.com", api.corp.com], routes: ["https://192.168.1.20:8443"]}, credentials: [{name: a, from: [env], hosts: [api.corp.com]}]}'
    await load(
      'egress: {presets: [npm], allow: [{host: x.example.com}, {host: "*.y.example.com"}, {host: api.corp.com}]}',
      ceiling,
    )
    await load('egress: {routes: {a.local: {url: "https://192.168.1.20:8443/"}}}', ceiling)
    await load(
      'credentials: [{name: a, from: {env: A}, as: A, inject: {host: api.corp.com, header: x-a}}]',
      ceiling,
    )
    for (const text of [
      'egress: {presets: [pypi]}',
      'egress: {allow: [{host: example.com}]}',
      'egress: {allow: [{host: evilexample.com}]}',
      'egress: {audit: [{host: other.net}]}',
      'egress: {allow: [{host: "*.corp.com"}]}',
      'egress: {routes: {a.local: {url: "https://192.168.1.20:8444"}}}',
      'egress: {routes: {a.local: {url: "https://1.1.1.1"}}}',
      'credentials: [{name: a, from: {dotenv: A}, as: A, inject: {host: api.corp.com, header: x-a}}]',
      'credentials: [{name: a, from: {env: A}, as: A, inject: {host: x.example.com, header: x-a}}]',
      'credentials: [{name: b, from: {env: A}}]',
    ])
      await excess(text, ceiling)
    await load('egress: {deny: [{host: anything.net}]}', ceiling)
  })

  test('the operator wins over cage.yaml, which wins over the defaults of the operator', async () => {
    const operator =
      'defaults: {machine: {cpus: 2, memory: 2GiB}, task: {agent: shell}}\nprojects: {shop: {machine: {memory: 16GiB}}}'
    const settings = await load('machine: {cpus: 8, memory: 4GiB}', operator)
    expect(settings.machine).toMatchObject({cpus: 8, memoryBytes: 16 * 2 ** 30})
    expect(settings.task.agent).toBe('shell')
    expect((await load('project: other', operator)).machine.memoryBytes).toBe(2 * 2 ** 30)
  })

  test('a budget of the operator can only be made smaller', async () => {
    const operator = 'defaults: {task: {budget: {usd: 5, tokens: 100}}}'
    expect((await load('task: {budget: {usd: 50, tokens: 10, time: 1h}}', operator)).task.budget).toEqual({
      usd: 5,
      tokens: 10,
      seconds: 3600,
    })
    const lifted = `${operator}\nprojects: {shop: {task: {budget: {usd: 20}}}}`
    expect((await load('task: {budget: {usd: 50}}', lifted)).task.budget.usd).toBe(20)
  })

  test('egress of all layers adds up', async () => {
    const operator =
      'defaults: {egress: {deny: [{host: bad.com}]}}\nprojects: {shop: {egress: {allow: [{host: own.com}], presets: [pypi]}}}'
    const {egress, baseline} = await load(
      'egress: {presets: [npm], allow: [{host: API.example.com., port: 80}]}',
      operator,
    )
    expect(egress.presets).toEqual(['npm', 'pypi'])
    expect(egress.allow.map(({id, host, port, scheme}) => [id, host, port, scheme])).toEqual([
      ['cage.yaml:allow[0]', 'api.example.com', 80, 'http'],
      ['config.yaml:projects.shop.allow[0]', 'own.com', 443, 'https'],
    ])
    expect(egress.deny).toEqual([{id: 'config.yaml:defaults.deny[0]', host: 'bad.com'}])
    expect(baseline.egress.allow.map(({host}) => host)).toEqual(['own.com'])
  })

  test('files of the operator never lie in the repository', async () => {
    const folder = folderOf(undefined, undefined, {'inside.pem': 'x', kube: 'x'})
    symlinkSync(join(folder.folder, 'kube'), join(folder.folder, '..', 'kube'))
    for (const [text, path] of [
      ['network: {hosts: {a.corp: {address: 10.0.0.1, ca: ~/shop/inside.pem}}}', 'network.hosts."a.corp".ca'],
      [
        'projects: {shop: {cluster: {kind: existing, kubeconfig: ~/kube}}}',
        'projects.shop.cluster.kubeconfig',
      ],
      [
        'defaults: {egress: {routes: {a.local: {url: "https://10.0.0.1", ca: ~/shop/inside.pem}}}}',
        'defaults.egress.routes."a.local".ca',
      ],
    ] as const) {
      writeFileSync(folder.options.operatorFile, text)
      await expect(loadProject(folder.options)).rejects.toThrow(`${path}: must not lie inside the repository`)
    }
  })

  test('routes of the operator have their certificates', async () => {
    const folder = folderOf(
      undefined,
      'projects: {shop: {egress: {routes: {a.local: {url: "https://10.0.0.1", ca: ~/ca.pem}}}}}',
    )
    const pem = parseAuthority(createAuthority('test', Date.now())).certificate
    writeFileSync(join(folder.folder, '..', 'ca.pem'), pem)
    expect((await loadProject(folder.options)).egress.routes).toEqual([
      {name: 'a.local', url: 'https://10.0.0.1', address: '10.0.0.1', ca: pem},
    ])
  })

  test('a certificate of a route lies in the repository, links followed', async () => {
    const route = 'egress: {routes: {a.example.com: {url: "https://1.1.1.1", ca: CA}}}'
    for (const [ca, message] of [
      ['../x.pem', 'inside the repository'],
      ['link.pem', 'inside the repository'],
      ['none.pem', 'not a readable PEM'],
      ['text.pem', 'not a readable PEM'],
    ] as const) {
      const folder = folderOf(route.replace('CA', ca), undefined, {'text.pem': 'x'})
      writeFileSync(join(folder.folder, '..', 'x.pem'), 'x')
      symlinkSync('../x.pem', join(folder.folder, 'link.pem'))
      await expect(loadProject(folder.options)).rejects.toThrow(message)
    }
  })
})
