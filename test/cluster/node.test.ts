import {mkdirSync, readdirSync, readFileSync, rmSync} from 'node:fs'
import {networkInterfaces} from 'node:os'
import {join, resolve} from 'node:path'
import {afterAll, beforeAll, describe, expect, it} from '@jest/globals'
import {cage, cageJson, cageOk, eventually, onMachine, repository, run, scratch} from './harness.js'

interface Up {
  steps: {name: string; seconds: number; changed: boolean}[]
}
interface Record {
  id: string
  network: {host: string; machine: string; services: string}
}

/** The machine's own record, by the project's name. */
function recordOf(project: string): Record {
  const states = join(process.env['XDG_STATE_HOME'] ?? '', 'cage')
  const id = readdirSync(states).find((name) => new RegExp(`^${project}-[0-9a-f]{8}$`).test(name)) ?? ''
  return JSON.parse(readFileSync(join(states, id, 'machine.json'), 'utf8')) as Record
}
const machineFile = (id: string, name: string) =>
  join(process.env['XDG_STATE_HOME'] ?? '', 'cage', id, 'machine', name)
const pidIn = (id: string, name: string) => Number(readFileSync(machineFile(id, name), 'utf8').split(' ')[0])

async function machine(script: string): Promise<string> {
  const {code, stdout, stderr} = await onMachine(script)
  if (code !== 0) throw new Error(`${script}\nexit code ${code}\n${stdout}${stderr}`)
  return stdout.trim()
}

/** What a machine of that id left on this computer. */
async function leftovers(id: string): Promise<string> {
  const script = `
    for process in /proc/[0-9]*; do
      grep -qsF "cage-${id}" "$process/cgroup" && echo "process $(tr '\\0' ' ' <"$process/cmdline")"
    done
    find /sys/fs/cgroup -maxdepth 3 -name 'cage-${id}'
    grep -F '${id}' /proc/mounts
    losetup --list --noheadings --output BACK-FILE | grep -F '${id}'
    ip -brief link | grep -F "$1"
    nft list tables 2>/dev/null | grep -i cage
    pgrep -a slirp4netns | while read -r pid rest; do
      grep -qs '^State:.*zombie' "/proc/$pid/status" && continue
      target=$(sed 's/.* \\([0-9]*\\) tap0$/\\1/' <<<"$rest"); [ -e "/proc/$target" ] || echo "slirp4netns $pid without its machine"
    done
    true`
  const link = (await run('sh', ['-c', `printf %s '${id}' | sha256sum | cut -c1-8`])).stdout.trim()
  return (await run('bash', ['-c', script, 'bash', `cage-${link}`])).stdout.trim()
}

describe('the node', () => {
  it('sees nothing of the files of this computer', async () => {
    const mounts = await machine('cat /proc/self/mountinfo')
    expect(mounts).toContain(' / / ')
    for (const path of [
      '/home',
      '/root/',
      repository,
      scratch,
      process.env['HOME'] ?? '/root',
      resolve('.'),
    ]) {
      expect(
        mounts.split('\n').filter((line) => line.includes(` ${path}`) || line.includes(`=${path}`)),
      ).toEqual([])
    }
    expect(await machine('ls -A /home /root /mnt /media /srv')).not.toContain('shop')
    expect((await onMachine(`ls ${repository}`)).code).not.toBe(0)
  })

  it('cannot load modules, reboot, set the clock or touch raw hardware', async () => {
    const bounding = BigInt(`0x${await machine("awk '/CapBnd/ {print $2}' /proc/1/status")}`)
    const [rawio, boot, time, module, admin] = [17n, 22n, 25n, 16n, 21n].map((bit) => (bounding >> bit) & 1n)
    expect({rawio, boot, time, module, admin}).toEqual({rawio: 0n, boot: 0n, time: 0n, module: 0n, admin: 1n})
  })

  it('leaves the kernel settings of this computer alone', async () => {
    expect(await machine('cat /proc/sys/vm/overcommit_memory')).toBe('1')
    expect(await machine('findmnt -n -o FSTYPE /proc/sys/vm/overcommit_memory || echo same')).toMatch(
      /tmpfs|same/,
    )
  })

  it('keeps logs, images and processes within limits', async () => {
    const kubelet = await machine('cat /var/lib/kubelet/config.yaml')
    for (const setting of [
      'podPidsLimit: 2048',
      'containerLogMaxSize: 10Mi',
      'imageGCHighThresholdPercent: 100',
    ]) {
      expect(kubelet).toContain(setting)
    }
    const images = await machine("ctr -n k8s.io images list | grep '^cage.local'")
    for (const line of images.split('\n')) expect(line).toContain('io.cri-containerd.pinned=pinned')
    expect(
      Number(await machine('cat /sys/fs/cgroup/pids/pids.max 2>/dev/null || cat /sys/fs/cgroup/pids.max')),
    ).toBeGreaterThan(0)
  })

  it('keeps no bootstrap token', async () => {
    expect(
      await machine(
        'kubectl -n kube-system get secrets --field-selector type=bootstrap.kubernetes.io/token -o name',
      ),
    ).toBe('')
  })
})

describe('the firewall of the machine, from a pod without a fence', () => {
  const pod = 'node-test-unfenced'
  const {network} = recordOf('shop')
  const host = network.host.split('/')[0] ?? ''
  const node = network.machine.split('/')[0] ?? ''
  const api = network.services.replace('.0/18', '.1')

  beforeAll(async () => {
    const image = (await machine("ctr -n k8s.io images list -q | grep '^cage.local/agent:' | tail -1")) || ''
    const spec = {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: {name: pod, namespace: 'default'},
      spec: {
        automountServiceAccountToken: false,
        terminationGracePeriodSeconds: 0,
        containers: [{name: 'a', image, imagePullPolicy: 'Never', command: ['sleep', '3600']}],
      },
    }
    await machine(
      `kubectl apply -f - <<'EOT'\n${JSON.stringify(spec)}\nEOT\nkubectl wait --for=condition=Ready pod/${pod} --timeout=90s`,
    )
  }, 120_000)
  afterAll(async () => {
    await onMachine(`kubectl delete pod ${pod} --wait=false`)
  })

  const connect = async (target: string, port: number) => {
    const script = `timeout 2 bash -c 'exec 3<>/dev/tcp/${target}/${port}' 2>/dev/null && echo open || echo shut`
    return machine(`kubectl exec ${pod} -- bash -c ${JSON.stringify(script)}`)
  }

  it('opens the resolver, which shows that closed ports are closed by rule', async () => {
    expect(await connect('10.0.2.3', 53)).toBe('open')
    expect(await machine(`timeout 2 bash -c 'exec 3<>/dev/tcp/${node}/6443' && echo open`)).toBe('open')
  })

  it.each([
    ['the API server at the node', node, 6443],
    ['the API server at its service', api, 443],
    ['the kubelet', node, 10250],
    ['etcd', node, 2379],
    ['this computer', host, 22],
    ['slirp’s gateway', '10.0.2.2', 22],
    ['metadata', '169.254.169.254', 80],
    ['a private network', '192.168.1.1', 80],
    ['another project’s machine', '10.201.0.2', 6443],
  ])('closes %s (%s:%i)', async (_, target, port) => {
    expect(await connect(target, port)).toBe('shut')
  })

  it('closes every address of this computer', async () => {
    const addresses = Object.values(networkInterfaces())
      .flatMap((list) => list ?? [])
      .filter(({family, internal}) => family === 'IPv4' && !internal)
    for (const {address} of addresses)
      expect([address, await connect(address, 22)]).toEqual([address, 'shut'])
  })

  it('is closed again right after a start, before anything opens it', async () => {
    await machine('/usr/local/lib/cage/firewall.sh closed')
    expect(await connect('10.0.2.3', 53)).toBe('shut')
    const {steps} = await cageJson<Up>(['up'])
    expect(steps.filter(({changed}) => changed).map(({name}) => name)).toEqual(['firewall'])
    expect(await connect('10.0.2.3', 53)).toBe('open')
  })
})

describe('volumes of the machine', () => {
  const volume = '/usr/local/lib/cage/volume.sh'
  const path = '/var/lib/cage/volumes/node-test'
  afterAll(() => onMachine(`${volume} remove node-test`))

  it('hold their size; a full one disturbs neither etcd nor the machine', async () => {
    await machine(`${volume} ensure node-test 67108864`)
    const {code, stderr} = await onMachine(`dd if=/dev/zero of=${path}/fill bs=1M count=200`)
    expect([code, stderr]).toEqual([1, expect.stringContaining('No space left')])
    expect(await machine('kubectl get --raw /readyz')).toBe('ok')
    await machine(
      'kubectl create configmap node-test --from-literal=a=b && kubectl delete configmap node-test',
    )
    await machine('touch /var/lib/kubelet/node-test && rm /var/lib/kubelet/node-test')
  })

  it('are made once, grow, and never shrink', async () => {
    await machine(`rm ${path}/fill && echo kept >${path}/file`)
    await machine(`${volume} ensure node-test 134217728`)
    await machine(`${volume} ensure node-test 67108864`)
    expect(await machine(`cat ${path}/file; df --output=size -BM ${path} | tail -1`)).toMatch(
      /^kept\n\s*1[12]\dM$/,
    )
  })

  it('give a file to read from outside, and nothing but a plain file of their own', async () => {
    await machine(`cd ${path} && ln -s /etc/hostname link.txt && mkfifo pipe.txt && echo line >plain.txt`)
    const read = (name: string, file: string) => onMachine(`${volume} read ${name} '${file}'`)
    expect(await read('node-test', 'plain.txt')).toMatchObject({code: 0, stdout: 'line\n'})
    expect(await read('node-test', 'missing.txt')).toMatchObject({code: 0, stdout: ''})
    expect(await read('never-made', 'plain.txt')).toMatchObject({code: 0, stdout: ''})
    for (const file of ['link.txt', 'pipe.txt', '../a', 'a/b', '.txt', ''])
      expect(await read('node-test', file)).toMatchObject({code: 1, stdout: ''})
  })

  it.each(['../up', 'A', 'a b', '-x', ''])('refuse the name %j', async (name) => {
    expect((await onMachine(`${volume} ensure '${name}' 67108864`)).code).toBe(1)
  })
})

describe('a machine that was hurt', () => {
  it('opens its way out again by itself', async () => {
    const {id} = recordOf('shop')
    await run('pkill', ['-KILL', '-P', String(pidIn(id, 'way-out.pid')), 'slirp4netns'])
    await eventually('slirp4netns is back', async () =>
      (await onMachine('ip route show default dev tap0 | grep -q 10.0.2.2')).code === 0 ? true : undefined,
    )
  })

  it('is repaired by `cage up` when even the keeper of its way out is dead', async () => {
    const {id} = recordOf('shop')
    process.kill(pidIn(id, 'way-out.pid'), 'SIGKILL')
    const {steps} = await cageJson<Up>(['up'])
    expect(steps.find(({name}) => name === 'machine')).toMatchObject({changed: true})
    await eventually('the way out is open', async () =>
      (await onMachine('ip route show default dev tap0 | grep -q 10.0.2.2')).code === 0 ? true : undefined,
    )
  })

  it('comes back with its volumes after all of it was killed', async () => {
    const {id} = recordOf('shop')
    await machine('/usr/local/lib/cage/volume.sh ensure node-test 67108864')
    await machine('echo kept >/var/lib/cage/volumes/node-test/file && sync')
    process.kill(pidIn(id, 'node.pid'), 'SIGKILL')
    await cageOk(['up'])
    expect(await machine('cat /var/lib/cage/volumes/node-test/file')).toBe('kept')
    await machine('/usr/local/lib/cage/volume.sh remove node-test')
  })

  it('is left alone by an `up` that has nothing to do', async () => {
    const {steps} = await cageJson<Up>(['up'])
    expect(steps.filter(({changed}) => changed)).toEqual([])
  })
})

describe('a second project on this computer', () => {
  const second = join(scratch, 'side')
  const inSecond = {cwd: second, timeoutMs: 900_000}
  beforeAll(async () => {
    rmSync(second, {recursive: true, force: true})
    mkdirSync(second)
    const script =
      'git init -q -b main && git -c user.name=A -c user.email=a@b.invalid commit -q --allow-empty -m first'
    expect(await run('sh', ['-c', script], {cwd: second})).toMatchObject({code: 0})
  })
  afterAll(() => cage(['destroy', '--confirm', 'side'], inSecond), 120_000)

  it('is cut off in the middle of `up`, and the next `up` goes on from there', async () => {
    const cut = await run(
      'timeout',
      ['--signal=INT', '9', process.execPath, resolve('bin/cage'), 'up'],
      inSecond,
    )
    expect(cut.code).not.toBe(0)
    const killed = await run(
      'timeout',
      ['--signal=KILL', '14', process.execPath, resolve('bin/cage'), 'up'],
      inSecond,
    )
    expect(killed.code).not.toBe(0)
    await cageOk(['up'], inSecond)
  }, 1_000_000)

  it('runs beside the first, on networks of its own', async () => {
    const [one, other] = [recordOf('shop'), recordOf('side')]
    expect(one.network.machine).not.toBe(other.network.machine)
    expect(await machine('kubectl get --raw /readyz')).toBe('ok')
    const there = await run(
      process.execPath,
      [resolve('bin/cage'), 'machine', 'ssh', '--', 'kubectl', 'get', '--raw', '/readyz'],
      inSecond,
    )
    expect(there.stdout).toBe('ok')
  })

  it('goes down without a trace and comes up again', async () => {
    const {id} = recordOf('side')
    await cageOk(['down'], inSecond)
    expect(await leftovers(id)).toBe('')
    await cageOk(['up'], inSecond)
  }, 400_000)

  it('is destroyed without a trace, and the first does not notice', async () => {
    const {id} = recordOf('side')
    await cageOk(['destroy', '--confirm', 'side'], inSecond)
    expect(await leftovers(id)).toBe('')
    expect(readdirSync(join(process.env['XDG_STATE_HOME'] ?? '', 'cage'))).not.toContain(id)
    expect(await machine('kubectl get --raw /readyz')).toBe('ok')
  }, 120_000)
})
