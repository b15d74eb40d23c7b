/**
 * Runs all tasks, one after the other. A failure does not stop the later tasks.
 * @throws the first failure, after all tasks are done
 */
export async function eachAlone(tasks: readonly (() => Promise<unknown>)[]): Promise<void> {
  const failures: unknown[] = []
  for (const task of tasks) await task().catch((error: unknown) => failures.push(error))
  if (failures.length > 0) throw failures[0]
}
