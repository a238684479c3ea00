import {spawn, spawnSync, type ChildProcess} from 'node:child_process'
import {appendFileSync, copyFileSync, readFileSync} from 'node:fs'
import {join} from 'node:path'
import type {TestSshd} from '../support/sshd.js'

/** A server of test/vm/server.sh and the person's ssh configuration, in which it is `server`, and `behind` a jump host. */
export class Server {
  readonly directory: string
  private readonly gate: TestSshd
  private readonly env: NodeJS.ProcessEnv
  private services: ChildProcess[] = []

  constructor(directory: string, gate: TestSshd, env: NodeJS.ProcessEnv) {
    this.directory = directory
    this.gate = gate
    this.env = env
  }

  /** Boots it, at an address that `number` decides, 0 to 50. */
  boot(number: number): void {
    const made = spawnSync('test/vm/server.sh', ['start', this.directory, String(number)], {
      encoding: 'utf8',
      env: this.env,
    })
    if (made.status !== 0) throw new Error(`no server: ${made.stderr.slice(-2000)}`)
    const {port, keyFile, knownHosts, hostKeyAlias} = this.gate.target
    const lines = [
      ...['Host behind', `  HostName ${this.address}`, '  User me', '  ProxyJump gate'],
      ...[`  IdentityFile ${this.directory}/person`, '  IdentitiesOnly yes'],
      `  UserKnownHostsFile ${this.directory}/known_hosts`,
      ...['Host gate', '  HostName 127.0.0.1', `  Port ${port}`, '  User root', `  IdentityFile ${keyFile}`],
      ...['  IdentitiesOnly yes', `  UserKnownHostsFile ${knownHosts}`, `  HostKeyAlias ${hostKeyAlias}`],
    ]
    appendFileSync(join(this.directory, 'ssh_config'), `${lines.join('\n')}\n`)
  }

  get address(): string {
    const settings = spawnSync(join(this.directory, 'ssh'), ['-G', 'server'], {encoding: 'utf8'}).stdout
    return /^hostname (.+)$/m.exec(settings)?.[1] ?? ''
  }

  /** As a cut of the power: everything that runs is gone, the disk stays. */
  powerOff(): void {
    for (const service of this.services) service.kill('SIGKILL')
    this.services = []
    spawnSync('test/vm/server.sh', ['stop', this.directory], {env: this.env})
  }

  /** The person has compared the fingerprint and answered yes. */
  trust(): void {
    copyFileSync(join(this.directory, 'scanned'), join(this.directory, 'known_hosts'))
  }

  /** As the person on the server, through their own ssh; what it prints. */
  run(script: string): string {
    return spawnSync(join(this.directory, 'ssh'), ['server', script], {encoding: 'utf8'}).stdout.trim()
  }

  /** An HTTP server of the cloud's metadata, at the address that clouds give it, in the server's own network. */
  async metadata(): Promise<void> {
    this.inNetwork('ip', 'addr', 'add', '169.254.169.254/32', 'dev', 'lo')
    const script = `require('http').createServer((_, a) => a.end('role-credentials\\n'))
      .listen(80, '169.254.169.254', () => console.log('ready'))`
    const service = spawn('nsenter', ['-t', this.init, '-n', process.execPath, '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    this.services.push(service)
    await new Promise((next) => service.stdout.once('data', next))
  }

  /** What the server holds and runs, as far as cage could have changed it: equal before and after, at whatever address. */
  footprint(): string {
    // What sees to the end of a command over SSH looks once a second.
    const script = String.raw`sleep 2; cd /
      find . -xdev \( -path ./proc -o -path ./sys -o -path ./dev -o -path ./run/sudo \) -prune -o \
        -type f ! -path './var/log/*' ! -path ./home/me/.ssh/authorized_keys ! -path ./etc/hosts ! -path ./etc/resolv.conf \
        -printf '%p %m %u:%g %s %T@\n' -o \
        -printf '%p %y %m %u:%g %l\n' | sort
      find run tmp ! -path 'run/sudo*' | sort
      cat home/me/.ssh/authorized_keys proc/mounts
      cat proc/[0-9]*/comm | sort -u | grep -vE '^(sshd.*|sudo|sh|bash|cat|sort|find|grep)$'`
    const seen = this.run(`sudo bash -c ${quoted(script)}`)
    const network = ['addr', 'route', 'rule'].map((what) => this.inNetwork('ip', '-4', '-br', what))
    return [seen, ...network, this.inNetwork('nft', 'list', 'ruleset')]
      .join('\n')
      .replace(/192\.168\.\d+\.|@if\d+|,uuid=on/g, '')
  }

  private get init(): string {
    return readFileSync(join(this.directory, 'pid'), 'utf8').split(' ')[0] ?? ''
  }

  private inNetwork(...argv: string[]): string {
    return spawnSync('nsenter', ['-t', this.init, '-n', ...argv], {encoding: 'utf8'}).stdout
  }
}

const quoted = (text: string) => `'${text.replaceAll("'", `'\\''`)}'`
