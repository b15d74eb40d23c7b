import type { Stats } from 'node:fs'

/** Why a file must not decide what this process does, and what to do about that. */
interface Distrust {
  readonly why: string
  readonly remedy: string
}

/**
 * Whether somebody else than root and this user can change a file or a folder. Windows has no such bits; what stat says
 * there means nothing.
 */
export function distrust(
  { mode, uid }: Pick<Stats, 'mode' | 'uid'>,
  user: number | undefined = process.geteuid?.(),
): Distrust | undefined {
  if (user === undefined) return undefined
  if ((mode & 0o002) !== 0) return { why: 'can be changed by everybody on this machine', remedy: 'chmod o-w' }
  if (uid === 0 || uid === user) return undefined
  return { why: `belongs to another user (uid ${uid})`, remedy: `chown ${user}` }
}
