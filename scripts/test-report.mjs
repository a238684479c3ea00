// Reads one jest result file: prints `passed failed skipped`, appends the names of failed and skipped tests to two lists.
//   node scripts/test-report.mjs NAME RESULT.json FAILED SKIPPED
import {appendFileSync, readFileSync} from 'node:fs'
import {relative} from 'node:path'

const [name, resultFile, failedFile, skippedFile] = process.argv.slice(2)

function read() {
  try {
    return JSON.parse(readFileSync(resultFile, 'utf8'))
  } catch {
    return undefined
  }
}

const result = read()
if (!result) {
  appendFileSync(failedFile, `${name}: the test run ended without a result (crash or deadline)\n`)
  console.log('0 1 0')
} else {
  const failed = []
  const skipped = []
  let passed = 0
  for (const suite of result.testResults) {
    const file = relative(process.cwd(), suite.name)
    // A file that cannot be loaded has no tests of its own to fail.
    if (suite.status === 'failed' && !suite.assertionResults.some((test) => test.status === 'failed')) {
      failed.push(`${file}: ${suite.message.split('\n').find((line) => line.trim()) ?? 'failed'}`)
    }
    for (const test of suite.assertionResults) {
      if (test.status === 'passed') passed += 1
      else if (test.status === 'failed') failed.push(`${file}: ${test.fullName}`)
      else skipped.push(`${file}: ${test.fullName}`)
    }
  }
  appendFileSync(failedFile, failed.map((line) => `${line}\n`).join(''))
  appendFileSync(skippedFile, skipped.map((line) => `${line}\n`).join(''))
  console.log(`${passed} ${failed.length} ${skipped.length}`)
}
