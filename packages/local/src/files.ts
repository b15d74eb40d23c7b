import { randomUUID } from 'node:crypto'
import { link, open, rename, stat, unlink, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { openingFailed } from './failures.ts'
import { hasCode } from './processes.ts'

/** @throws LOCAL_UNAVAILABLE if it may not be looked at */
export async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    (error) => {
      if (hasCode(error, 'ENOENT', 'ENOTDIR')) return false
      throw openingFailed(error, path)
    },
  )
}

/** Writes a file that is never seen half written, not even after a power cut. */
export async function writeWhole(path: string, text: string): Promise<void> {
  await renameForGood(await writeAside(path, text), path)
}

/** The same, but false if it is there already: of many who write it, one succeeds. */
export async function writeOnce(path: string, text: string): Promise<boolean> {
  const unfinished = await writeAside(path, text)
  try {
    await link(unfinished, path)
    await syncDirectory(dirname(path))
    return true
  } catch (error) {
    if (hasCode(error, 'EEXIST')) return false
    throw error
  } finally {
    await unlink(unfinished)
  }
}

async function writeAside(path: string, text: string): Promise<string> {
  const unfinished = `${path}.${randomUUID()}`
  await writeFile(unfinished, text, { mode: 0o644, flush: true })
  return unfinished
}

/** Renames, and waits until that has reached the disk. */
export async function renameForGood(from: string, to: string): Promise<void> {
  await rename(from, to)
  // The directory may be new itself.
  for (const directory of [dirname(to), dirname(dirname(to))]) await syncDirectory(directory)
}

async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path)
  try {
    await directory.sync()
  } finally {
    await directory.close()
  }
}
