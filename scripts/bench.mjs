// Runs one measurement: `npm run bench NAME [ARGUMENTS]` is bench/NAME.ts.
import {existsSync, mkdirSync, readdirSync} from 'node:fs'
import {join} from 'node:path'
import {fileURLToPath, pathToFileURL} from 'node:url'
import {build} from 'esbuild'

process.chdir(fileURLToPath(new URL('..', import.meta.url)))
const known = readdirSync('bench')
  .filter((file) => /^[a-z]+\.bench\.ts$/.test(file))
  .map((file) => file.replace('.bench.ts', ''))
const [name = '', ...args] = process.argv.slice(2)
if (!known.includes(name)) {
  console.error(`usage: npm run bench NAME, where NAME is one of: ${known.join(', ')}`)
  process.exit(2)
}
if (!existsSync('dist/cli/main.js')) {
  console.error('the CLI is not built: npm run build')
  process.exit(3)
}
const outfile = join('dist', 'bench', `${name}.mjs`)
mkdirSync(join('dist', 'bench'), {recursive: true})
await build({
  bundle: true,
  entryPoints: [`bench/${name}.bench.ts`],
  format: 'esm',
  logLevel: 'warning',
  outfile,
  packages: 'external',
  platform: 'node',
  target: 'node20',
})
process.argv = [process.argv[0], outfile, ...args]
await import(pathToFileURL(outfile).href)
