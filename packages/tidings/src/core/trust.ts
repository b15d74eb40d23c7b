import type { Stats } from 'node:fs'

/** Why a file must not control this process, and the remedy. */
interface Distrust {
  readonly why: string
  readonly remedy: string
}

/**
 * Whether another user than root and this one can change a file or a folder. Windows has no such mode bits, so nothing is
 * distrusted there.
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
