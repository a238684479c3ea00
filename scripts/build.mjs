import {execFileSync} from 'node:child_process'
import {existsSync, readdirSync, rmSync} from 'node:fs'
import {join} from 'node:path'
import {fileURLToPath} from 'node:url'
import {build} from 'esbuild'

process.chdir(fileURLToPath(new URL('..', import.meta.url)))

// CommonJS dependencies inside an ES module bundle need these three names.
const banner = {
  js: [
    "import {createRequire as __createRequire} from 'node:module'",
    "import {dirname as __directoryOf} from 'node:path'",
    "import {fileURLToPath as __toPath} from 'node:url'",
    'const require = __createRequire(import.meta.url)',
    'const __filename = __toPath(import.meta.url)',
    'const __dirname = __directoryOf(__filename)',
  ].join(';'),
}
const common = {
  banner,
  bundle: true,
  external: ['cpu-features', 'ts-node', 'typescript', '*.node'],
  format: 'esm',
  legalComments: 'linked',
  logLevel: 'warning',
  platform: 'node',
  target: 'node20',
}
const commands = readdirSync('cli/commands', {recursive: true})
  .filter((file) => file.endsWith('.ts'))
  .map((file) => join('cli/commands', file))

rmSync('dist', {force: true, recursive: true})
await Promise.all([
  build({
    ...common,
    entryPoints: ['cli/main.ts', 'cli/git-remote-cage.ts', ...commands].filter((file) => existsSync(file)),
    minifySyntax: true,
    minifyWhitespace: true,
    outbase: '.',
    outdir: 'dist',
    splitting: true,
  }),
  // Inside the cluster: one readable file each, no node_modules.
  ...['proxy', 'dispatcher']
    .filter((room) => existsSync(`${room}/main.ts`))
    .map((room) => build({...common, entryPoints: [`${room}/main.ts`], outfile: `dist/${room}.js`})),
])
execFileSync('npx', ['--no-install', 'oclif', 'manifest', '.'], {stdio: ['ignore', 'ignore', 'inherit']})
