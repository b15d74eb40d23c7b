import { CommanderError } from 'commander'
import { reportError } from './errors.ts'
import { program } from './program.ts'

/** @returns the exit code: 0 done, 1 failed, 2 wrong usage */
export async function run(args: readonly string[]): Promise<number> {
  try {
    await program().parseAsync(args, { from: 'user' })
    return Number(process.exitCode ?? 0)
  } catch (error) {
    // Help and version were asked for and shown.
    if (error instanceof CommanderError && error.exitCode === 0) return 0
    return reportError(error, asksForJson(args))
  }
}

/** Whether `--json` is among the arguments, even if they cannot be parsed. */
function asksForJson(args: readonly string[]): boolean {
  const end = args.indexOf('--')
  return args.slice(0, end < 0 ? args.length : end).includes('--json')
}
