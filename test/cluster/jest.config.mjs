import base from '../../jest.config.mjs'

/** The cluster tier: one real project for all files, brought up once and destroyed at the end. */
export default {
  ...base,
  rootDir: '../..',
  testMatch: ['<rootDir>/test/cluster/**/*.test.ts'],
  testPathIgnorePatterns: ['/node_modules/'],
  globalSetup: '<rootDir>/test/cluster/setup.mjs',
  globalTeardown: '<rootDir>/test/cluster/teardown.mjs',
  maxWorkers: 1,
  testTimeout: 180_000,
}
