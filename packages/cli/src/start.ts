import { guardOutput } from './output.ts'

/** Runs a program to its end: the exit code is what `run` returns. */
export async function start(run: (args: readonly string[]) => Promise<number>): Promise<void> {
  guardOutput()
  const exitCode = await run(process.argv.slice(2))
  // Exits even if handlers left connections open. The output is flushed first.
  for (const stream of [process.stdout, process.stderr]) await new Promise((written) => stream.write('', written))
  process.exit(exitCode)
}
