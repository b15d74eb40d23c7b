import { copyFile, stat, truncate } from 'node:fs/promises'

/** A log that is longer is moved aside, so that the two together stay below twice this. */
const mostBytes = 5_000_000

/**
 * Moves what is in a log to `<path>.1` when it has grown long. Who writes keeps it open, so it is emptied in place; that
 * takes a writer who appends.
 */
export async function boundLog(path: string): Promise<void> {
  const size = await stat(path).then(
    (found) => found.size,
    () => 0,
  )
  if (size <= mostBytes) return
  // Without room for the copy it is better to lose old lines than to keep them.
  await copyFile(path, `${path}.1`).catch(() => {})
  await truncate(path)
}
