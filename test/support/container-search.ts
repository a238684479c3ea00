import {spawnSync} from 'node:child_process'
import {closeSync, openSync, readdirSync, readFileSync, readSync} from 'node:fs'

const PAGE = 4096
const CHUNK = 64 * PAGE
/** where something could have been written; the rest comes from the image */
const FOLDERS = ['etc', 'home', 'opt', 'root', 'run', 'srv', 'tmp', 'var']

/**
 * Where each text is inside a container that runs on this computer, as its root sees it: `memory`, `environment`,
 * `arguments` of any of its processes, or the path of a file.
 */
export function findInContainer(id: string, texts: readonly string[]): string[][] {
  const pids = processesOf(id)
  if (pids.length === 0) throw new Error(`no process of container ${id} runs here`)
  const seen = pids.map((pid) => ({
    environment: readFileSync(`/proc/${pid}/environ`),
    arguments: readFileSync(`/proc/${pid}/cmdline`),
    memory: inMemory(pid, texts),
  }))
  return texts.map((text) => {
    const places = seen.flatMap((process) => [
      ...(process.environment.includes(text) ? ['environment'] : []),
      ...(process.arguments.includes(text) ? ['arguments'] : []),
      ...(process.memory.has(text) ? ['memory'] : []),
    ])
    return [...new Set([...places, ...findInFiles(`/proc/${pids[0] ?? 0}/root`, FOLDERS, text)])]
  })
}

/** Paths below a folder, the text in any file, also a binary one. @param except names of folders that are left out */
export function findInFiles(
  root: string,
  folders: readonly string[],
  text: string,
  except: readonly string[] = [],
): string[] {
  // The pattern comes by standard input: arguments are in /proc.
  const without = except.map((name) => `--exclude-dir=${name}`)
  const args = ['-rlaF', '--devices=skip', ...without, '-f', '-', ...folders]
  const {stdout} = spawnSync('grep', args, {cwd: root, input: `${text}\n`, encoding: 'utf8'})
  return stdout.split('\n').filter(Boolean)
}

/** Its cgroup bears its name, in whatever namespaces it is. */
function processesOf(id: string): number[] {
  return readdirSync('/proc')
    .map(Number)
    .filter((pid) => {
      try {
        return pid > 0 && readFileSync(`/proc/${pid}/cgroup`, 'utf8').includes(id)
      } catch {
        return false
      }
    })
}

/** Those that are there as bytes, or as the two-byte text that a JavaScript heap has too. */
function inMemory(pid: number, texts: readonly string[]): Set<string> {
  const wanted = texts.flatMap((text) =>
    (['utf8', 'utf16le'] as const).map((encoding) => ({text, bytes: Buffer.from(text, encoding)})),
  )
  const chunk = Buffer.alloc(CHUNK + Math.max(...wanted.map(({bytes}) => bytes.length)))
  const found = new Set<string>()
  const [memory, pages] = [openSync(`/proc/${pid}/mem`, 'r'), openSync(`/proc/${pid}/pagemap`, 'r')]
  try {
    for (const line of readFileSync(`/proc/${pid}/maps`, 'utf8').split('\n')) {
      const [, start = '', end = ''] = /^([0-9a-f]+)-([0-9a-f]+) rw/.exec(line) ?? []
      const stop = parseInt(end, 16)
      for (let at = parseInt(start, 16); at < stop; at += CHUNK) {
        if (!isTouched(pages, at)) continue
        const here = chunk.subarray(
          0,
          readAt(memory, chunk.subarray(0, Math.min(chunk.length, stop - at)), at),
        )
        for (const {text, bytes} of wanted) if (here.includes(bytes)) found.add(text)
      }
    }
    return found
  } finally {
    closeSync(memory)
    closeSync(pages)
  }
}

/** proc_pid_pagemap(5): whether a page of the chunk is present or swapped; reading would make the others. */
function isTouched(pages: number, at: number): boolean {
  const entries = Buffer.alloc((CHUNK / PAGE) * 8)
  readAt(pages, entries, (at / PAGE) * 8)
  for (let entry = 7; entry < entries.length; entry += 8) if ((entries[entry] ?? 0) & 0xc0) return true
  return false
}

/** 0 for what went away meanwhile. */
function readAt(file: number, into: Buffer, at: number): number {
  try {
    return readSync(file, into, 0, into.length, at)
  } catch {
    return 0
  }
}
