import module from 'node:module'

// Node >= 22.8 keeps compiled bytecode between runs; older versions lack the function.
;(module as {enableCompileCache?: () => void}).enableCompileCache?.()
const {remoteHelper} = await import('./remote-helper/main.js')
process.exitCode = await remoteHelper(process.argv.slice(2))
