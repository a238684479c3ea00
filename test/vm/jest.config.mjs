import base from '../../jest.config.mjs'

/** Virtual machines, emulated where the processor does not help: minutes, one after the other. */
export default {
  ...base,
  rootDir: '../..',
  testMatch: ['<rootDir>/test/vm/**/*.test.ts'],
  testPathIgnorePatterns: ['/node_modules/'],
  maxWorkers: 1,
  // Each case on a line of its own: one may take a quarter of an hour.
  verbose: true,
  testTimeout: 40 * 60_000,
}
