import {createInterface} from 'node:readline/promises'

/** One line from the person's terminal, asked on stderr so that stdout stays the result. */
export async function confirmName(question: string): Promise<string> {
  const prompt = createInterface({input: process.stdin, output: process.stderr})
  try {
    return (await prompt.question(`${question} `)).trim()
  } finally {
    prompt.close()
  }
}

/** A yes or no question on the person's terminal; anything but yes is no. */
export async function confirm(question: string): Promise<boolean> {
  return /^y(es)?$/i.test(await confirmName(`${question} [y/N]`))
}
