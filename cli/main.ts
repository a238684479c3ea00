import module from 'node:module'

// Node >= 22.8 keeps compiled bytecode between runs; older versions lack the function.
;(module as {enableCompileCache?: () => void}).enableCompileCache?.()
await import('./run.js')
