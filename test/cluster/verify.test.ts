import {afterAll, describe, expect, it} from '@jest/globals'
import type {VerifyReport} from '../../tasks/verify/verify.js'
import {cage, cageJson, cageOk, onMachine} from './harness.js'

const patient = {timeoutMs: 300_000}

async function verify(): Promise<{code: number; report: VerifyReport}> {
  const {code, stdout, stderr} = await cage(['verify', '--json'], patient)
  if (stdout === '') throw new Error(`cage verify said nothing (${code}): ${stderr}`)
  return {code, report: JSON.parse(stdout) as VerifyReport}
}
const failedIn = ({cases}: VerifyReport) =>
  cases.filter(({ok}) => !ok).map(({id, where, attack, got}) => ({id, where, attack, got}))
const stateOf = ({layers}: VerifyReport, name: string) => layers.find((layer) => layer.name === name)?.state

describe('cage verify', () => {
  afterAll(() => cageOk(['up'], patient), 300_000)

  it('finds nothing open on an installation as it is, and every control works', async () => {
    const before = await cageJson<object[]>(['task', 'list'])
    const {code, report} = await verify()
    expect(failedIn(report)).toEqual([])
    expect({code, failed: report.failed}).toEqual({code: 0, failed: 0})
    expect(report.passed).toBe(report.cases.length)
    expect(new Set(report.cases.map(({id}) => id)).size).toBe(report.cases.length)
    const classes = new Set(report.cases.map((one) => one.class))
    for (const name of ['CONTROL', 'OPEN', 'NAME', 'TLS', 'FRAME', 'ADDR', 'NET', 'CRED', 'ID', 'POD', 'GIT'])
      expect(classes).toContain(name)
    expect(report.layers.map(({name, state}) => `${name}: ${state}`)).toEqual([
      'fence: enforced',
      'firewall: enforced',
      'network policy: none',
      'admission policy: enforced',
      'seccomp: enforced',
      'user namespaces: enforced',
    ])
    expect(await cageJson<object[]>(['task', 'list'])).toEqual(before)
  }, 400_000)

  it('says so when the machine’s firewall is open, and that the fence still holds', async () => {
    await onMachine("nft flush chain inet cage input && nft 'add chain inet cage forward { policy accept; }'")
    const flushed = await onMachine('nft flush chain inet cage forward')
    expect(flushed).toMatchObject({code: 0})
    const {code, report} = await verify()
    expect(code).toBe(1)
    expect(stateOf(report, 'firewall')).toBe('NOT enforced')
    expect(stateOf(report, 'fence')).toBe('enforced')
    const failed = failedIn(report)
    expect(failed.length).toBeGreaterThan(0)
    expect(new Set(failed.map(({where}) => where))).toEqual(new Set(['beside the pods']))
    expect(failed[0]?.got).toBe('connected')
  }, 400_000)

  it('says so when the admission policy is gone', async () => {
    await cageOk(['up'], patient)
    const bindings = 'validatingadmissionpolicybindings.admissionregistration.k8s.io'
    const removed = await onMachine(
      `kubectl get ${bindings} -o name | grep -v dispatcher | xargs -r kubectl delete`,
    )
    expect(removed.stdout).toContain('deleted')
    const {code, report} = await verify()
    expect(code).toBe(1)
    expect(stateOf(report, 'admission policy')).toBe('NOT enforced')
    expect(stateOf(report, 'firewall')).toBe('enforced')
    expect(failedIn(report).map(({id}) => id)).toContain('OPEN-13.admission')
  }, 400_000)
})
