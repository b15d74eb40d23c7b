import { stat } from 'node:fs/promises'
import { homedir } from 'node:os'
import { dirname, join, resolve } from 'node:path'

/** The user and group of a process. */
export interface RunAs {
  readonly uid: number
  readonly gid: number
}

/** PostgreSQL refuses to run as root, so root runs it as this user ("nobody" on Linux). */
const unprivileged: RunAs = { uid: 65534, gid: 65534 }

/** The user of a server: the unprivileged user if this process is root's, otherwise the same user (undefined). */
export function serverUser(): RunAs | undefined {
  return process.getuid?.() === 0 ? unprivileged : undefined
}

/** The user id of a server. */
export function serverUid(): number {
  return serverUser()?.uid ?? process.getuid?.() ?? 0
}

/** Root's directory for files that the unprivileged user must reach and nobody else may write. */
export const rootsOwn = '/var/lib/tidings'

/** Holds copies of programs. */
export function cacheDirectory(): string {
  return serverUser() ? rootsOwn : join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'tidings')
}

/**
 * Whether the user may enter every directory of the path, and read and enter (or run) its target. Judged by mode bits:
 * only root asks, and the system allows root everything.
 */
export async function isReachable(path: string, user: RunAs): Promise<boolean> {
  const allowed = async (at: string, bits: number) => {
    const { mode, uid, gid } = await stat(at)
    const shift = uid === user.uid ? 6 : gid === user.gid ? 3 : 0
    return ((mode >> shift) & bits) === bits
  }
  if (!(await allowed(path, 0o5))) return false
  for (let parent = dirname(resolve(path)); ; parent = dirname(parent)) {
    if (!(await allowed(parent, 0o1))) return false
    if (parent === dirname(parent)) return true
  }
}
