import {createHash, randomBytes} from 'node:crypto'
import {PassThrough, Readable, Writable} from 'node:stream'
import {afterAll, beforeAll, describe, expect, it} from '@jest/globals'
import type {Cluster} from '../../kube/cluster.js'
import {connectToTestCluster, imageOnNode} from '../support/real-cluster.js'

const MB = 1024 ** 2
const namespace = `exec-${randomBytes(4).toString('hex')}`
const ref = {apiVersion: 'v1', kind: 'Pod', namespace, name: 'target'}

class Sink extends Writable {
  private readonly hash = createHash('sha256')
  readonly chunks: Buffer[] = []
  bytes = 0
  override _write(chunk: Buffer, _: BufferEncoding, done: () => void): void {
    this.bytes += chunk.length
    this.hash.update(chunk)
    if (this.bytes < MB) this.chunks.push(chunk)
    setImmediate(done)
  }
  get sha256(): string {
    return this.hash.copy().digest('hex')
  }
  get text(): string {
    return Buffer.concat(this.chunks).toString()
  }
}

describe('exec on a real cluster', () => {
  let cluster: Cluster
  let image: string

  beforeAll(async () => {
    cluster = await connectToTestCluster()
    image = await imageOnNode(cluster)
    await cluster.apply([{apiVersion: 'v1', kind: 'Namespace', metadata: {name: namespace}}])
    await cluster.create({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: {name: ref.name, namespace},
      spec: {
        automountServiceAccountToken: false,
        terminationGracePeriodSeconds: 0,
        containers: [{name: 'main', image, imagePullPolicy: 'Never', command: ['sleep', 'infinity']}],
      },
    })
    await cluster.waitFor(ref, (pod) => JSON.stringify(pod?.['status']).includes('"ready":true'), {
      what: 'the pod runs',
      deadlineMs: 60_000,
    })
  })

  afterAll(async () => {
    await cluster.delete({apiVersion: 'v1', kind: 'Namespace', name: namespace})
    await cluster.close()
  })

  const target = {namespace, pod: ref.name, container: 'main'}

  it('passes output and exit codes', async () => {
    const stdout = new Sink()
    const stderr = new Sink()
    const argv = ['sh', '-c', 'echo out; echo err >&2; exit 7'] as const
    await expect(cluster.exec({...target, argv, stdout, stderr})).resolves.toBe(7)
    expect([stdout.text, stderr.text]).toEqual(['out\n', 'err\n'])
    expect(stdout.writableEnded).toBe(false)
  })

  it('passes argv unchanged', async () => {
    const stdout = new Sink()
    const words = ['a b', '$(x)', "'", '', 'ü&=+#?', '--']
    await cluster.exec({...target, argv: ['printf', '[%s]', ...words], stdout})
    expect(stdout.text).toBe(words.map((word) => `[${word}]`).join(''))
  })

  it('carries 20 MB of bytes out', async () => {
    const stdout = new Sink()
    const script =
      'i=0; while [ $i -lt 320 ]; do head -c 65536 /usr/bin/git /bin/bash 2>/dev/null | head -c 65536; i=$((i+1)); done | tee /tmp/sent | cat'
    await expect(cluster.exec({...target, argv: ['sh', '-c', script], stdout})).resolves.toBe(0)
    const sum = new Sink()
    await cluster.exec({...target, argv: ['sha256sum', '/tmp/sent'], stdout: sum})
    expect(stdout.bytes).toBe(320 * 65536)
    expect(sum.text).toContain(stdout.sha256)
  })

  it('carries 20 MB of bytes in and closes stdin behind them', async () => {
    const bytes = randomBytes(20 * MB)
    const stdout = new Sink()
    const stdin = Readable.from(slices(bytes))
    await expect(cluster.exec({...target, argv: ['sha256sum'], stdin, stdout})).resolves.toBe(0)
    expect(stdout.text).toContain(createHash('sha256').update(bytes).digest('hex'))
  })

  it('carries 20 MB both ways at once', async () => {
    const bytes = randomBytes(20 * MB)
    const stdout = new Sink()
    await expect(
      cluster.exec({...target, argv: ['cat'], stdin: Readable.from(slices(bytes)), stdout}),
    ).resolves.toBe(0)
    expect(stdout.bytes).toBe(bytes.length)
    expect(stdout.sha256).toBe(createHash('sha256').update(bytes).digest('hex'))
  })

  it('does not wait for stdin when the program ends first', async () => {
    await expect(cluster.exec({...target, argv: ['true'], stdin: new PassThrough()})).resolves.toBe(0)
  })

  it('reads no faster than the reader', async () => {
    const slow = new PassThrough({highWaterMark: 64 * 1024})
    const running = cluster.exec({
      ...target,
      argv: ['head', '-c', String(64 * MB), '/dev/zero'],
      stdout: slow,
    })
    await new Promise((next) => setTimeout(next, 1500))
    // Nobody reads: what lies in this process stays small.
    expect(slow.readableLength + slow.writableLength).toBeLessThan(MB)
    let read = 0
    slow.on('data', (chunk: Buffer) => (read += chunk.length))
    await expect(running).resolves.toBe(0)
    expect(read).toBe(64 * MB)
  })

  it('ends when the reader goes away', async () => {
    const gone = new PassThrough()
    gone.once('data', () => gone.destroy())
    await expect(cluster.exec({...target, argv: ['yes'], stdout: gone})).resolves.toBe(141)
  })

  it('gives a terminal of the asked size, and changes it', async () => {
    const stdout = new PassThrough()
    let resize: (size: {columns: number; rows: number}) => void = () => undefined
    let text = ''
    stdout.on('data', (chunk: Buffer) => {
      text += chunk.toString()
      if (text.includes('33 100')) resize({columns: 80, rows: 25})
    })
    const script =
      'while [ "$(stty size)" = "0 0" ]; do sleep 0.1; done; stty size; while [ "$(stty size)" = "33 100" ]; do sleep 0.1; done; stty size'
    const running = cluster.exec({
      ...target,
      argv: ['sh', '-c', script],
      stdout,
      stdin: new PassThrough(),
      tty: {columns: 100, rows: 33},
      onResize: (listener) => {
        resize = listener
        return () => undefined
      },
    })
    await expect(running).resolves.toBe(0)
    expect(text).toMatch(/33 100\s+25 80/)
  })

  it('is interrupted by its signal', async () => {
    const controller = new AbortController()
    const running = cluster.exec({...target, argv: ['sleep', '100'], signal: controller.signal})
    setTimeout(() => controller.abort(), 500)
    await expect(running).rejects.toMatchObject({code: 'INTERRUPTED', exitCode: 130})
  })

  it('says what is missing', async () => {
    const argv = ['true'] as const
    const stdout = new Sink()
    await expect(cluster.exec({...target, argv: ['no-such-program'], stdout})).rejects.toMatchObject({
      code: 'EXEC_NOT_STARTED',
      exitCode: 255,
    })
    await expect(cluster.exec({...target, pod: 'other', argv, stdout})).rejects.toThrow(/there is no pod/)
    await expect(cluster.exec({...target, container: 'other', argv, stdout})).rejects.toThrow(
      /no running container other/,
    )
  })

  it('loses no output of many short commands', async () => {
    for (let round = 0; round < 20; round++) {
      const stdout = new Sink()
      await expect(cluster.exec({...target, argv: ['printf', 'x'.repeat(1000)], stdout})).resolves.toBe(0)
      expect(stdout.bytes).toBe(1000)
    }
  })

  it('follows a log', async () => {
    const out = new Sink()
    await cluster.create({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: {name: 'talker', namespace},
      spec: {
        automountServiceAccountToken: false,
        restartPolicy: 'Never',
        containers: [
          {
            name: 'main',
            image,
            imagePullPolicy: 'Never',
            command: ['sh', '-c', 'for i in 1 2 3; do echo line $i; sleep 1; done'],
          },
        ],
      },
    })
    const talker = {...ref, name: 'talker'}
    await cluster.waitFor(talker, (pod) => /Running|Succeeded/.test(JSON.stringify(pod?.['status'])), {
      what: 'it runs',
      deadlineMs: 60_000,
    })
    await cluster.logs({namespace, pod: 'talker', container: 'main', follow: true}, out)
    expect(out.text).toBe('line 1\nline 2\nline 3\n')
    await expect(cluster.delete(talker, {wait: {deadlineMs: 60_000}})).resolves.toBe(true)
    await expect(cluster.get(talker)).resolves.toBeUndefined()
  })
})

function* slices(bytes: Buffer): Generator<Buffer> {
  for (let at = 0; at < bytes.length; at += 100_000) yield bytes.subarray(at, at + 100_000)
}
