import {chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync} from 'node:fs'
import {tmpdir} from 'node:os'
import {join, resolve} from 'node:path'
import {afterEach, beforeEach, describe, expect} from '@jest/globals'
import {processRunner} from '../../../core/process.js'
import {GuestUpkeep, type Upkeep} from '../../../provision/machine/upkeep.js'
import type {Transport} from '../../../provision/transport/transport.js'
import {itUnless} from '../../support/when.js'

const obstacle = process.getuid?.() === 0 ? undefined : 'a guest’s own /etc needs root'
let world: string

beforeEach(() => {
  world = mkdtempSync(join(tmpdir(), 'cage-upkeep-'))
  for (const part of ['apt', 'systemd', 'bin', 'units']) mkdirSync(join(world, part))
  program('systemctl', systemctl)
  program('timedatectl', 'echo yes')
})
afterEach(() => rmSync(world, {recursive: true, force: true}))

/** Units are files: `masked` cannot be switched on. */
const systemctl = `units=$(dirname "$(dirname "$0")")/units
case $1 in
is-enabled) cat "$units/$2" 2>/dev/null || echo disabled ;;
is-active) [ "$(cat "$units/$2" 2>/dev/null)" = enabled ] && echo active || echo inactive ;;
enable)
  shift 2
  for unit; do [ "$(cat "$units/$unit" 2>/dev/null)" = masked ] && exit 1; echo enabled >"$units/$unit"; done ;;
esac`

function program(name: string, text: string): void {
  writeFileSync(join(world, 'bin', name), `#!/bin/sh\n${text}\n`)
  chmodSync(join(world, 'bin', name), 0o755)
}
const unit = (name: string, state: 'enabled' | 'masked') =>
  writeFileSync(join(world, 'units', name), `${state}\n`)

/** The guest: this computer, with /etc/apt and /etc/systemd of its own. */
function guest(): GuestUpkeep {
  const enter = `mount --bind "$1/apt" /etc/apt; mount --bind "$1/systemd" /etc/systemd
    PATH=$1/bin:$PATH; export PATH; shift; exec "$@"`
  const transport = {
    run: ({argv, input}) =>
      processRunner.run({
        argv: ['unshare', '--mount', 'sh', '-c', enter, 'sh', world, ...argv],
        ...(input === undefined ? {} : {input}),
      }),
  } satisfies Partial<Transport>
  return new GuestUpkeep(transport as unknown as Transport, resolve('.'))
}
const {signal} = new AbortController()
const on = (all: Upkeep[]) => Object.fromEntries(all.map(({name, on: is}) => [name, is]))

describe('what keeps a guest in order', () => {
  itUnless(obstacle, 'is off before it is switched on, and on afterwards', async () => {
    program('unattended-upgrade', '')
    expect(on(await guest().state(signal))).toMatchObject({updates: false, clock: false, journal: false})
    await guest().apply(signal)
    mkdirSync(join(world, 'systemd/journald.conf.d'))
    writeFileSync(join(world, 'systemd/journald.conf.d/50-cage.conf'), '[Journal]\nSystemMaxUse=200M\n')
    const state = await guest().state(signal)
    expect(on(state)).toMatchObject({updates: true, clock: true, journal: true})
    expect(state.find(({name}) => name === 'clock')?.detail).toBe('systemd-timesyncd, synchronized')
    expect(state.find(({name}) => name === 'journal')?.detail).toBe('at most 200M')
    expect(state.find(({name}) => name === 'disk')?.detail).toMatch(/^\d+ % used, \d+ GiB free/)
  })

  itUnless(obstacle, 'takes security fixes only, and never restarts the machine under a task', async () => {
    await guest().apply(signal)
    await guest().apply(signal)
    const settings = join(world, 'apt/apt.conf.d/90-cage')
    const {code, stdout} = await processRunner.run({argv: ['apt-config', '-c', settings, 'dump']})
    expect(code).toBe(0)
    const said = stdout.toString()
    expect(said).toContain('APT::Periodic::Unattended-Upgrade "1";')
    expect(said).toContain('Unattended-Upgrade::Automatic-Reboot "false";')
    const origins = [...said.matchAll(/^Unattended-Upgrade::Origins-Pattern:: "(.*)";$/gm)].map(
      ([, one]) => one,
    )
    expect(origins).toHaveLength(2)
    for (const origin of origins) expect(origin).toContain('-security')
    expect(readFileSync(settings, 'utf8')).toContain('#clear Unattended-Upgrade::Allowed-Origins;')
  })

  itUnless(
    obstacle,
    'leaves another program that keeps the time, and an image that masks the timers',
    async () => {
      program('unattended-upgrade', '')
      unit('chrony.service', 'enabled')
      unit('apt-daily.timer', 'masked')
      await guest().apply(signal)
      const state = await guest().state(signal)
      expect(state.find(({name}) => name === 'clock')?.detail).toBe('chrony, synchronized')
      expect(state.find(({name}) => name === 'updates')).toMatchObject({
        on: false,
        detail: 'the timers of apt do not run',
      })
    },
  )

  itUnless(obstacle, 'says what is missing in an image', async () => {
    await guest().apply(signal)
    expect((await guest().state(signal)).find(({name}) => name === 'updates')).toMatchObject({
      on: false,
      detail: 'unattended-upgrades is not installed',
    })
  })
})
