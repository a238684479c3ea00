import {transformSync} from 'esbuild'

/** Jest transformer: strip types with esbuild, keep ES modules. */
export default {
  process: (source, path) =>
    transformSync(source, {
      format: 'esm',
      loader: 'ts',
      sourcefile: path,
      sourcemap: 'inline',
      target: 'node20',
    }),
}
