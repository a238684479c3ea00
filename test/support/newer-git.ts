import {execFileSync} from 'node:child_process'
import {existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync} from 'node:fs'

const store = '/var/cache/cage-test'
const release = 'trixie'

/**
 * The git of a later Debian beside the computer's own: unpacked once, started with the C library it was made for.
 * @returns the folder to put before PATH; or why it cannot be had
 */
export function newerGit(): {bin: string} | {missing: string} {
  const folder = `${store}/git-${release}`
  const bin = `${folder}/bin`
  if (existsSync(bin)) return {bin}
  const draft = `${folder}.${process.pid}`
  try {
    mkdirSync(store, {recursive: true})
    const options = [
      '--quiet',
      '--variant=extract',
      '--include=git',
      '--aptopt=Apt::Install-Recommends "false"',
    ]
    execFileSync('mmdebstrap', [...options, release, draft], {stdio: 'pipe', timeout: 240_000})
    const triple = readdirSync(`${draft}/usr/lib`).find((name) => name.endsWith('-linux-gnu')) ?? ''
    const loader = readdirSync(`${draft}/usr/lib/${triple}`).find((name) => /^ld-linux.*\.so\.\d$/.test(name))
    const start = `GIT_EXEC_PATH=${bin} exec ${folder}/usr/lib/${triple}/${loader ?? ''} --library-path ${folder}/usr/lib/${triple}`
    mkdirSync(`${draft}/bin`)
    for (const [name, path] of [
      ['git', 'usr/bin/git'],
      ['git-remote-http', 'usr/lib/git-core/git-remote-http'],
      ['git-remote-https', 'usr/lib/git-core/git-remote-https'],
    ] as const)
      writeFileSync(`${draft}/bin/${name}`, `#!/bin/sh\n${start} ${folder}/${path} "$@"\n`, {mode: 0o755})
    execFileSync('chmod', ['a+rX', draft])
    renameSync(draft, folder)
    execFileSync(`${bin}/git`, ['--version'], {stdio: 'pipe'})
  } catch (error) {
    for (const path of [draft, folder]) rmSync(path, {recursive: true, force: true})
    return {missing: `the git of ${release} cannot be had here: ${String(error).split('\n')[0] ?? ''}`}
  }
  return {bin}
}
