/** @type {import('jest').Config} */
export default {
  coverageProvider: 'v8',
  extensionsToTreatAsEsm: ['.ts'],
  moduleNameMapper: {'^(\\.{1,2}/.*)\\.js$': '$1'},
  setupFiles: ['<rootDir>/test/support/jest.setup.ts'],
  testEnvironment: 'node',
  testMatch: ['<rootDir>/test/**/*.test.ts'],
  testPathIgnorePatterns: [
    '/node_modules/',
    ...(process.env.CAGE_TEST_TIERS ? [] : ['<rootDir>/test/cluster/', '<rootDir>/test/vm/']),
  ],
  modulePathIgnorePatterns: ['<rootDir>/dist/', '<rootDir>/examples/', '<rootDir>/images/'],
  transform: {'\\.ts$': '<rootDir>/test/support/esbuild-transform.mjs'},
}
