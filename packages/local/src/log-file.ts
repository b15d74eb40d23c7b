import { copyFile, stat, truncate } from 'node:fs/promises'

/** A longer log is moved aside, so that both files together stay below twice this size. */
const maxBytes = 5_000_000

/**
 * Moves the content of a long log to `<path>.1`. The writer keeps the file open, so the file is truncated in place; the
 * writer must append.
 */
export async function boundLog(path: string): Promise<void> {
  const size = await stat(path).then(
    (found) => found.size,
    () => 0,
  )
  if (size <= maxBytes) return
  // Without room for the copy, losing the old lines is better than keeping them.
  await copyFile(path, `${path}.1`).catch(() => {})
  await truncate(path)
}
