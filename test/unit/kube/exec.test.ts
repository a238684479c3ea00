import {PassThrough, Readable, Writable} from 'node:stream'
import {setImmediate as turn} from 'node:timers/promises'
import {describe, expect, it} from '@jest/globals'
import type {ExecOptions} from '../../../kube/cluster.js'
import {execPath, runExec, type ExecSocket} from '../../../kube/exec.js'

const MB = 1024 ** 2
const target: ExecOptions = {namespace: 'n', pod: 'p', container: 'c', argv: ['cat']}
const success = Buffer.from(JSON.stringify({status: 'Success'}))

class FakeSocket implements ExecSocket {
  protocol = 'v5.channel.k8s.io'
  bufferedAmount = 0
  readonly sent: Buffer[] = []
  readonly taken: (() => void)[] = []
  readonly calls: string[] = []
  receive: (channel: number, bytes: Buffer) => void = () => undefined
  private readonly listeners = new Map<string, (() => void)[]>()
  /** the network takes nothing until `flush` */
  stuck = false

  readonly open = (_: string, receive: (channel: number, bytes: Buffer) => void): Promise<ExecSocket> => {
    this.receive = receive
    return Promise.resolve(this)
  }
  send(message: Buffer, taken: () => void): void {
    this.sent.push(message)
    if (this.stuck) {
      this.bufferedAmount += message.length
      this.taken.push(taken)
    } else taken()
  }
  flush(): void {
    this.bufferedAmount = 0
    for (const taken of this.taken.splice(0)) taken()
  }
  ping(): void {
    this.calls.push('ping')
  }
  pause(): void {
    this.calls.push('pause')
  }
  resume(): void {
    this.calls.push('resume')
  }
  terminate(): void {
    this.calls.push('terminate')
  }
  on(event: string, listener: () => void): void {
    this.listeners.set(event, [...(this.listeners.get(event) ?? []), listener])
  }
  emit(event: string): void {
    for (const listener of this.listeners.get(event) ?? []) listener()
  }
  /** what the program was sent */
  get stdin(): Buffer {
    return Buffer.concat(this.sent.filter(([channel]) => channel === 0).map((message) => message.subarray(1)))
  }
}

async function turns(count = 20): Promise<void> {
  for (let at = 0; at < count; at++) await turn()
}

describe('the request of an exec', () => {
  it('carries argv word by word', () => {
    const stdout = new PassThrough()
    expect(execPath({...target, argv: ['a b', '&c=d', ''], stdout})).toBe(
      '/api/v1/namespaces/n/pods/p/exec?container=c&command=a+b&command=%26c%3Dd&command=&stdout=true',
    )
  })

  it('asks for the streams there are, and for one at least', () => {
    const stream = new PassThrough()
    expect(execPath(target)).toMatch(/stdout=true$/)
    expect(execPath({...target, stdin: stream})).toMatch(/command=cat&stdin=true$/)
    expect(execPath({...target, stdout: stream, stderr: stream})).toMatch(/stdout=true&stderr=true$/)
    expect(execPath({...target, stdout: stream, stderr: stream, tty: {columns: 1, rows: 1}})).toMatch(
      /stdout=true&tty=true$/,
    )
  })
})

describe('an exec', () => {
  it('ends with the exit code after all output', async () => {
    const socket = new FakeSocket()
    const slow: string[] = []
    const stdout = new Writable({
      write(chunk: Buffer, _, done) {
        setTimeout(() => {
          slow.push(chunk.toString())
          done()
        }, 20)
      },
    })
    const running = runExec(socket.open, {...target, stdout})
    await turns(2)
    socket.receive(1, Buffer.from('a'))
    socket.receive(1, Buffer.from('b'))
    const causes = [{reason: 'ExitCode', message: '42'}]
    socket.receive(
      3,
      Buffer.from(JSON.stringify({status: 'Failure', reason: 'NonZeroExitCode', details: {causes}})),
    )
    await expect(running).resolves.toBe(42)
    expect(slow).toEqual(['a', 'b'])
    expect(socket.calls).toContain('terminate')
    expect(stdout.listenerCount('close')).toBe(0)
  })

  it('takes output that comes before the connection is handed over', async () => {
    const stdout = new PassThrough()
    const socket = new FakeSocket()
    const running = runExec(
      (_, receive) => {
        receive(1, Buffer.alloc(0))
        receive(3, Buffer.alloc(0))
        receive(1, Buffer.from('early'))
        receive(3, success)
        return Promise.resolve(socket)
      },
      {...target, stdout},
    )
    await expect(running).resolves.toBe(0)
    expect(String(stdout.read())).toBe('early')
  })

  it('is lost when the connection ends without a status', async () => {
    const socket = new FakeSocket()
    const running = runExec(socket.open, target)
    await turns(2)
    socket.emit('close')
    await expect(running).rejects.toMatchObject({code: 'EXEC_LOST', exitCode: 255})
  })

  it('is not lost when the connection ends right after the status', async () => {
    const socket = new FakeSocket()
    const running = runExec(socket.open, target)
    await turns(2)
    socket.receive(3, success)
    socket.emit('close')
    await expect(running).resolves.toBe(0)
  })

  it('says why the program was not started', async () => {
    const socket = new FakeSocket()
    const running = runExec(socket.open, target)
    await turns(2)
    socket.receive(
      3,
      Buffer.from(JSON.stringify({status: 'Failure', message: 'exec: "cat": not found \u001b[2J'})),
    )
    await expect(running).rejects.toMatchObject({
      code: 'EXEC_NOT_STARTED',
      exitCode: 255,
      message: 'cannot run cat in n/p (c): exec: "cat": not found \\u{1b}[2J',
    })
  })

  it('does not guess from an unreadable status', async () => {
    const socket = new FakeSocket()
    const running = runExec(socket.open, target)
    await turns(2)
    socket.receive(3, Buffer.from('{'))
    await expect(running).rejects.toMatchObject({code: 'EXEC_LOST'})
  })

  it('stops reading the network while nobody takes the output', async () => {
    const socket = new FakeSocket()
    const stdout = new PassThrough({highWaterMark: 1024})
    const running = runExec(socket.open, {...target, stdout})
    await turns(2)
    for (let sent = 0; sent < 40; sent++) socket.receive(1, Buffer.alloc(64 * 1024))
    expect(socket.calls).toEqual(['pause'])
    let read = 0
    stdout.on('data', (chunk: Buffer) => (read += chunk.length))
    await turns(200)
    expect(socket.calls).toEqual(['pause', 'resume'])
    socket.receive(3, success)
    await expect(running).resolves.toBe(0)
    expect(read).toBe(40 * 64 * 1024)
  })

  it('stops reading stdin while the network takes nothing', async () => {
    const socket = new FakeSocket()
    socket.stuck = true
    let produced = 0
    const stdin = new Readable({
      read() {
        produced += 64 * 1024
        this.push(produced > 8 * MB ? null : Buffer.alloc(64 * 1024))
      },
    })
    const running = runExec(socket.open, {...target, stdin})
    await turns(300)
    expect(produced).toBeLessThan(2 * MB)
    socket.stuck = false
    socket.flush()
    await turns(300)
    expect(socket.stdin.length).toBe(8 * MB)
    expect(Math.max(...socket.sent.map(({length}) => length))).toBeLessThanOrEqual(32 * 1024 + 1)
    expect(socket.sent.at(-1)).toEqual(Buffer.from([255, 0]))
    socket.receive(3, success)
    await expect(running).resolves.toBe(0)
  })

  it.each([
    ['has ended already', () => Readable.from([]).resume()],
    ['is destroyed', () => new PassThrough().destroy()],
    [
      'fails',
      () =>
        new Readable({
          read() {
            this.destroy(new Error('EIO'))
          },
        }),
    ],
  ])('closes the stdin of the program when its own %s', async (_, make) => {
    const socket = new FakeSocket()
    const stdin = make()
    await turns()
    const running = runExec(socket.open, {...target, stdin})
    await turns()
    expect(socket.sent).toEqual([Buffer.from([255, 0])])
    socket.receive(3, success)
    await expect(running).resolves.toBe(0)
  })

  it('keeps text of a decoded stdin', async () => {
    const socket = new FakeSocket()
    const stdin = Readable.from([Buffer.from('grün')], {objectMode: false})
    stdin.setEncoding('utf8')
    const running = runExec(socket.open, {...target, stdin})
    await turns()
    expect(socket.stdin.toString()).toBe('grün')
    socket.receive(3, success)
    await running
  })

  it('leaves stdin alone after the program ended', async () => {
    const socket = new FakeSocket()
    const stdin = new PassThrough()
    const running = runExec(socket.open, {...target, stdin})
    await turns()
    socket.receive(3, success)
    await running
    expect(stdin.listenerCount('data')).toBe(0)
    expect(stdin.destroyed).toBe(false)
    stdin.write('for the next program')
    await turns()
    expect(socket.stdin.length).toBe(0)
  })

  it('refuses stdin where the cluster cannot close it', async () => {
    const socket = new FakeSocket()
    socket.protocol = 'v4.channel.k8s.io'
    await expect(runExec(socket.open, {...target, stdin: new PassThrough()})).rejects.toMatchObject({
      code: 'CLUSTER_TOO_OLD',
      exitCode: 255,
    })
  })

  it('ends the program when the reader goes away', async () => {
    const socket = new FakeSocket()
    const stdout = new PassThrough()
    const running = runExec(socket.open, {...target, stdout})
    await turns(2)
    stdout.destroy()
    socket.receive(1, Buffer.from('x'))
    await expect(running).resolves.toBe(141)
    expect(socket.calls).toContain('terminate')
  })

  it('survives a reader that fails with EPIPE', async () => {
    const socket = new FakeSocket()
    const stdout = new Writable({
      write: (_chunk, _encoding, done) => done(Object.assign(new Error('EPIPE'), {code: 'EPIPE'})),
    })
    const running = runExec(socket.open, {...target, stdout})
    await turns(2)
    socket.receive(1, Buffer.from('x'))
    await expect(running).resolves.toBe(141)
    await turns()
  })

  it('tells the size of the terminal, and later ones until it ends', async () => {
    const socket = new FakeSocket()
    let resize: (size: {columns: number; rows: number}) => void = () => undefined
    let registered = true
    const running = runExec(socket.open, {
      ...target,
      tty: {columns: 80, rows: 24},
      onResize: (listener) => {
        resize = listener
        return () => (registered = false)
      },
    })
    await turns(2)
    resize({columns: 100, rows: 30})
    expect(socket.sent.map((message) => [message[0], message.subarray(1).toString()])).toEqual([
      [4, '{"Width":80,"Height":24}'],
      [4, '{"Width":100,"Height":30}'],
    ])
    socket.receive(3, success)
    await running
    expect(registered).toBe(false)
  })

  it('is interrupted before, while and after it connects', async () => {
    const socket = new FakeSocket()
    await expect(runExec(socket.open, {...target, signal: AbortSignal.abort()})).rejects.toMatchObject({
      code: 'INTERRUPTED',
    })
    const early = new AbortController()
    const connecting = runExec((path, receive) => turns(50).then(() => socket.open(path, receive)), {
      ...target,
      signal: early.signal,
    })
    early.abort()
    await expect(connecting).rejects.toMatchObject({code: 'INTERRUPTED', exitCode: 130})
    await turns(100)
    // The connection that came too late does not stay.
    expect(socket.calls).toEqual(['terminate'])
    const late = new AbortController()
    const running = runExec(socket.open, {...target, signal: late.signal})
    await turns(2)
    late.abort()
    await expect(running).rejects.toMatchObject({code: 'INTERRUPTED'})
  })
})
