import js from '@eslint/js'
import {defineConfig} from 'eslint/config'
import tseslint from 'typescript-eslint'

const edges = ['cli/**', 'proxy/main.ts', 'proxy/probe/**', 'dispatcher/main.ts', 'test/**', 'bench/**']

export default defineConfig(
  {ignores: ['dist', 'coverage', '**/*.mjs', '**/*.cjs', 'bin', 'examples', 'images']},
  js.configs.recommended,
  tseslint.configs.strictTypeChecked,
  tseslint.configs.stylisticTypeChecked,
  {languageOptions: {parserOptions: {projectService: true}}},
  {
    rules: {
      '@typescript-eslint/restrict-template-expressions': ['error', {allowNumber: true, allowBoolean: true}],
      '@typescript-eslint/no-confusing-void-expression': ['error', {ignoreArrowShorthand: true}],
      'no-control-regex': 'off',
    },
  },
  {
    // A room reports events and throws; only the edges write, read the environment, or exit.
    files: ['**/*.ts'],
    ignores: edges,
    rules: {
      'no-console': 'error',
      'no-restricted-properties': [
        'error',
        {object: 'process', property: 'env', message: 'read the environment in cli or main and pass it in'},
        {object: 'process', property: 'exit', message: 'throw a CageError'},
        {object: 'process', property: 'stdout', message: 'return the result or report an event'},
        {object: 'process', property: 'stderr', message: 'return the result or report an event'},
      ],
    },
  },
  {
    files: ['**/*.ts'],
    ignores: ['core/process.ts', 'test/**', 'bench/**'],
    rules: {
      'no-restricted-imports': [
        'error',
        {name: 'node:child_process', message: 'use the runner of core/process.ts'},
      ],
    },
  },
  {
    files: ['test/**', 'bench/**'],
    rules: {
      '@typescript-eslint/no-non-null-assertion': 'off',
      '@typescript-eslint/no-unsafe-assignment': 'off',
    },
  },
)
