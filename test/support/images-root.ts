import {cpSync, mkdirSync, mkdtempSync, writeFileSync} from 'node:fs'
import {tmpdir} from 'node:os'
import {join} from 'node:path'

/** A copy of what the images are made of, with bundles of one line. The caller removes the folder. */
export function imagesRoot(): string {
  const root = mkdtempSync(join(tmpdir(), 'cage-images-'))
  for (const folder of ['agent', 'gh', 'proxy', 'dispatcher', 'images.json', 'bundle-package.json']) {
    cpSync(`images/${folder}`, join(root, 'images', folder), {recursive: true})
  }
  cpSync('provision/guest', join(root, 'provision/guest'), {recursive: true})
  mkdirSync(join(root, 'dist'))
  for (const bundle of ['proxy', 'dispatcher'])
    writeFileSync(join(root, `dist/${bundle}.js`), `export default '${bundle}'\n`)
  return root
}
