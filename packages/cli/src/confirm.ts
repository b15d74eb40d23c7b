import { createInterface } from 'node:readline/promises'
import { TidingsError } from 'tidings/internal/core/errors'
import type { Given } from './command.ts'
import type { Output } from './output.ts'

export const yesFlag = ['--yes', 'Does not ask.'] as const

/**
 * Asks before something is lost.
 * @param question 'Remove queue hires?'
 * @returns whether to go on
 * @throws USAGE where nobody can be asked and `--yes` is missing
 */
export async function confirm(given: Given, question: string): Promise<boolean> {
  if (given.yes) return true
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
