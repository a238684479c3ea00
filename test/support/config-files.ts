import {mkdtempSync, mkdirSync, rmSync, writeFileSync} from 'node:fs'
import {tmpdir} from 'node:os'
import {dirname, join} from 'node:path'
import type {LoadOptions} from '../../policy/load.js'

/** A folder with a cage.yaml and the file of an operator, both optional. */
export function configFolder(
  files: {project?: string; operator?: string; others?: Record<string, string>} = {},
): {
  options: LoadOptions
  folder: string
  remove(): void
} {
  const root = mkdtempSync(join(tmpdir(), 'cage-config-'))
  const folder = join(root, 'shop')
  const write = (path: string, text: string) => {
    mkdirSync(dirname(path), {recursive: true})
    writeFileSync(path, text)
  }
  mkdirSync(folder)
  const operatorFile = join(root, 'config.yaml')
  if (files.project !== undefined) write(join(folder, 'cage.yaml'), files.project)
  if (files.operator !== undefined) write(operatorFile, files.operator)
  for (const [path, text] of Object.entries(files.others ?? {})) write(join(folder, path), text)
  return {
    folder,
    options: {directory: folder, operatorFile, home: root, defaultName: 'shop'},
    remove: () => rmSync(root, {recursive: true}),
  }
}
