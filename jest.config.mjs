/** @type {import('jest').Config} */
export default {
  coverageProvider: 'v8',
  extensionsToTreatAsEsm: ['.ts'],
  moduleNameMapper: {'^(\\.{1,2}/.*)\\.js$': '$1'},
  setupFiles: ['<rootDir>/test/support/jest.setup.ts'],
  testEnvironment: 'node',
  // Generous: a busy machine makes a test slow, never wrong.
  testTimeout: 120_000,
  testMatch: ['<rootDir>/test/**/*.test.ts'],
  testPathIgnorePatterns: [
    '/node_modules/',
    ...(process.env.CAGE_TEST_TIERS ? [] : ['<rootDir>/test/cluster/', '<rootDir>/test/vm/']),
  ],
  modulePathIgnorePatterns: ['<rootDir>/dist/', '<rootDir>/examples/', '<rootDir>/images/'],
  transform: {'\\.ts$': '<rootDir>/test/support/esbuild-transform.mjs'},
}
