import {afterAll, beforeAll, describe, expect, it} from '@jest/globals'
import {packageRoot} from '../../core/package-root.js'
import {imageReferences} from '../../provision/images/plan.js'
import {cage, cageJson, cageOk, inTask, onMachine} from './harness.js'

const branch = 'test/images'
const architecture = process.arch === 'arm64' ? 'arm64' : 'amd64'

async function said(script: string): Promise<string> {
  const {code, stdout, stderr} = await inTask(branch, script)
  if (code !== 0) throw new Error(`exit code ${code}: ${stdout}\n${stderr}`)
  return stdout.trim()
}

describe('the images on the machine', () => {
  beforeAll(async () => {
    await cageOk(['task', 'new', branch, '--agent', 'shell', '--', 'sleep', 'infinity'])
  }, 300_000)
  afterAll(() => cage(['task', 'rm', branch, '--force']), 120_000)

  it('lie under the names that follow from their inputs', async () => {
    const {stdout} = await onMachine('ctr --namespace k8s.io images ls --quiet')
    const references = await imageReferences(packageRoot(), architecture, 'hosted')
    expect(stdout.split('\n')).toEqual(expect.arrayContaining(Object.values(references)))
  })

  it('come back when one is lost, from what this computer has built', async () => {
    const {dispatcher} = await imageReferences(packageRoot(), architecture, 'hosted')
    await onMachine(`ctr --namespace k8s.io images rm ${dispatcher}`)
    const up = await cageJson<{steps: {name: string; changed: boolean; seconds: number}[]}>(['up'])
    expect(up.steps.find(({name}) => name === 'images')?.changed).toBe(true)
    const {stdout} = await onMachine('ctr --namespace k8s.io images ls --quiet')
    expect(stdout.split('\n')).toContain(dispatcher)
  })

  it('are built byte for byte the same', async () => {
    const build = `
      set -e
      cd "$(mktemp -d /var/lib/cage/build/twice.XXXXXX)"
      trap 'rm -rf "$PWD"' EXIT
      for turn in one two; do
        /usr/local/lib/cage/build-image.sh "$PWD/$turn.tar" sidecar:64000:/nonexistent ca-certificates nftables 2>"$turn.log" || { cat "$turn.log" >&2; exit 1; }
      done
      sha256sum one.tar two.tar
      tar -xOf one.tar ./usr/share/cage/packages`
    const {code, stdout, stderr} = await cage(['machine', 'ssh', '--', 'bash', '-c', build], {
      timeoutMs: 900_000,
    })
    expect({code, stderr}).toEqual({code: 0, stderr: ''})
    const [one, two, ...packages] = stdout.trim().split('\n')
    expect(one?.split(' ')[0]).toBe(two?.split(' ')[0])
    expect(packages.find((line) => line.startsWith('nftables '))).toMatch(/^nftables 1\.[^ ]+ \S+$/)
  }, 900_000)

  it('hold nothing that looks like a way out, and what an agent works with', async () => {
    const programs = 'curl wget nc ncat netcat socat telnet ssh scp sudo apt-get apt'
    expect(await said(`for p in ${programs}; do command -v "$p"; done; true`)).toBe('')
    const tools = 'bash git tmux tini node npm npx python3 pip jq rg make less ps patch unzip xz file claude'
    expect(await said(`for p in ${tools}; do command -v "$p" >/dev/null || echo "no $p"; done`)).toBe('')
    expect(await said('claude --version; node --version')).toMatch(/^2\.1\.\d+ \(Claude Code\)\nv2[24]\./)
  })

  it('hold no program that runs with more rights than its caller', async () => {
    expect(await said("find / -xdev '(' -perm -4000 -o -perm -2000 ')' -type f 2>/dev/null; true")).toBe('')
    expect(await said('id -u; grep NoNewPrivs /proc/self/status')).toBe('1000\nNoNewPrivs:\t1')
  })

  it('cannot be written to', async () => {
    expect(await said('touch /usr/lib/cage/x 2>&1; touch /etc/claude-code/x 2>&1; true')).toMatch(
      /Read-only file system\n.*Read-only file system/,
    )
    expect(await said('find /usr /etc /opt -xdev -user agent; true')).toBe('')
    expect(await said('stat -c "%U %a" /etc/claude-code/managed-settings.json /etc/gitconfig')).toBe(
      'root 644\nroot 644',
    )
  })

  it('record the exact packages they were built from', async () => {
    const recorded = await said('cat /usr/share/cage/packages')
    expect(recorded).toBe(
      await said("dpkg-query -W -f '${Package} ${Version} ${Architecture}\\n' | LC_ALL=C sort"),
    )
  })

  it("trust the pod's authority without any variable, where a program asks the system", async () => {
    const python = "import urllib.request as r; print(r.urlopen('https://git.cage.internal/ready').status)"
    expect(await said(`env -i PATH="$PATH" python3 -c "${python}"`)).toBe('200')
    expect(await said('env -i PATH="$PATH" HOME="$HOME" git ls-remote --heads origin | wc -l')).not.toBe('0')
  })

  it('let an agent install packages for itself', async () => {
    expect(await said('npm prefix --global; python3 -m site --user-base')).toBe(
      '/home/agent/.local\n/home/agent/.local',
    )
    expect(await said('python3 -m venv /tmp/venv && /tmp/venv/bin/pip --version')).toContain('/tmp/venv/')
    const install = `mkdir -p /tmp/p && printf '{"name":"p","version":"1.0.0","bin":{"hello-p":"p.js"}}' >/tmp/p/package.json && printf '#!/usr/bin/env node\\nconsole.log("hello")' >/tmp/p/p.js`
    expect(
      await said(`${install} && cd /tmp/p && npm install --global --offline . >/dev/null && hello-p`),
    ).toBe('hello')
  })
})
