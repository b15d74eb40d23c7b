import { randomUUID } from 'node:crypto'
import { link, open, rename, stat, unlink, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { openingFailed } from './failures.ts'
import { hasCode } from './processes.ts'

/** @throws LOCAL_UNAVAILABLE if this process may not stat the path */
export async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    (error) => {
      if (hasCode(error, 'ENOENT', 'ENOTDIR')) return false
      throw openingFailed(error, path)
    },
  )
}

/** Writes a file in one step: no reader sees it half written, not even after a power cut. */
export async function writeAtomically(path: string, text: string): Promise<void> {
  await renameDurably(await writeAside(path, text), path)
}

/** Creates a file in one step. Of many writers one succeeds; the others get false. */
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

/** Renames, and waits until the rename has reached the disk. */
export async function renameDurably(from: string, to: string): Promise<void> {
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
