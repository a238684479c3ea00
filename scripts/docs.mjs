// Writes the generated pages of docs/reference; `--check` only compares and fails when one is stale.
//   node scripts/docs.mjs [--check]      (after npm run build)
import {existsSync, readFileSync, writeFileSync} from 'node:fs'
import {fileURLToPath} from 'node:url'
import {commandPage} from './docs/commands.mjs'
import {configurationPage} from './docs/configuration.mjs'

process.chdir(fileURLToPath(new URL('..', import.meta.url)))

const pages = {
  'docs/reference/cli.md': commandPage(JSON.parse(readFileSync('oclif.manifest.json', 'utf8'))),
  'docs/reference/cage-yaml.md': await configurationPage(),
}
const stale = Object.entries(pages).filter(
  ([file, text]) => !existsSync(file) || readFileSync(file, 'utf8') !== text,
)
if (process.argv.includes('--check')) {
  for (const [file] of stale) console.error(`${file} is stale: npm run build && npm run docs`)
  process.exitCode = stale.length > 0 ? 1 : 0
} else {
  for (const [file, text] of stale) writeFileSync(file, text)
  console.error(
    stale.length > 0 ? `written: ${stale.map(([file]) => file).join(', ')}` : 'all pages are up to date',
  )
}
