/**
 * Runs all of them, one after the other; one that fails stops none of the others.
 * @throws what the first one threw that failed, once all are done
 */
export async function eachAlone(tasks: readonly (() => Promise<unknown>)[]): Promise<void> {
  const failures: unknown[] = []
  for (const task of tasks) await task().catch((error: unknown) => failures.push(error))
  if (failures.length > 0) throw failures[0]
}
