import { createInterface } from 'node:readline/promises'
import { TidingsError } from 'tidings/internal/core/errors'
import type { FlagValues } from './command.ts'
import type { Output } from './output.ts'

export const yesFlag = ['--yes', 'Does not ask.'] as const

/**
 * Asks the user before data is lost.
 * @param question 'Remove queue hires?'
 * @returns whether to go on
 * @throws USAGE without a terminal and without `--yes`
 */
export async function confirm(flagValues: FlagValues, question: string): Promise<boolean> {
  if (flagValues.yes) return true
  if (!process.stdin.isTTY || !process.stderr.isTTY)
    throw new TidingsError('USAGE', `not done without an answer: ${question}`, {
      hint: 'Pass --yes, since nobody can be asked here.',
    })
  const terminal = createInterface({ input: process.stdin, output: process.stderr })
  try {
    const answer = await terminal.question(`${question} [y/N] `)
    return /^y(es)?$/i.test(answer.trim())
  } finally {
    terminal.close()
  }
}

export function declined(out: Output): void {
  out.note('nothing was changed')
  process.exitCode = 1
}
