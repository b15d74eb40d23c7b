/**
 * Whether the name fits the glob, in which '*' stands for any text, also none. Each part between two stars is matched as
 * early as possible, which leaves the most text to the parts after it. So the work is linear in the name.
 */
export function matchesGlob(glob: string, name: string): boolean {
  const [head, ...rest] = glob.split('*') as [string, ...string[]]
  const tail = rest.pop()
  if (tail === undefined) return name === glob
  if (!name.startsWith(head) || !name.endsWith(tail)) return false
  let position = head.length
  for (const part of rest) {
    const found = name.indexOf(part, position)
    if (found < 0) return false
    position = found + part.length
  }
  return position + tail.length <= name.length
}
