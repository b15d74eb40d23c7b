// CPU time of a server: of its process and of those below it.
import { readFileSync } from 'node:fs'

/** What a clock tick of /proc/PID/stat is; 100 a second on every Linux that Node has binaries for. */
const tickUs = 10_000

/**
 * Microseconds that a process, its children, and the children that it has already reaped have used; null without /proc.
 * Of PostgreSQL these are all its processes, of Redis all its threads.
 */
export function cpuOfTree(pid) {
  try {
    const own = readStat(pid)
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean)
    let ticks = own.used + own.reaped
    for (const child of children) ticks += usedBy(child)
    return ticks * tickUs
  } catch (error) {
    if (error.code === 'ENOENT') return null
    throw error
  }
}

/** One that has ended meanwhile counts as reaped at the next look. */
function usedBy(pid) {
  try {
    return readStat(pid).used
  } catch {
    return 0
  }
}

function readStat(pid) {
  const text = readFileSync(`/proc/${pid}/stat`, 'utf8')
  // The name of the program may hold spaces and parentheses.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  const [user, system, reapedUser, reapedSystem] = fields.slice(11, 15).map(Number)
  return { used: user + system, reaped: reapedUser + reapedSystem }
}
