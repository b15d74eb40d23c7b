import { stat } from 'node:fs/promises'
import { homedir } from 'node:os'
import { dirname, join, resolve } from 'node:path'

/** The user and group that a process is run as. */
export interface RunAs {
  readonly uid: number
  readonly gid: number
}

/** PostgreSQL refuses to run as root, so root runs it as this user ("nobody" on Linux). */
const unprivileged: RunAs = { uid: 65534, gid: 65534 }

/** Whom a server has to be run as: root's becomes the unprivileged user, anybody else's stays their own (undefined). */
export function serverUser(): RunAs | undefined {
  return process.getuid?.() === 0 ? unprivileged : undefined
}

/** The user id that a server gets. */
export function serverUid(): number {
  return serverUser()?.uid ?? process.getuid?.() ?? 0
}

/** Where root keeps what the unprivileged user must reach and nobody else may write to. */
export const rootsOwn = '/var/lib/tidings'

/** Where copies of programs are kept. */
export function cacheDirectory(): string {
  return serverUser() ? rootsOwn : join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'tidings')
}

/**
 * Whether that user may enter every directory on the way, and read and enter (or run) what is there. Judged by mode bits,
 * because only root asks, for whom the system would always say yes.
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
