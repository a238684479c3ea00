import {Console} from 'node:console'

// Jest replaces `console` with one that buffers output; oclif writes through console.log, which @oclif/test captures.
globalThis.console = new Console({stderr: process.stderr, stdout: process.stdout})
