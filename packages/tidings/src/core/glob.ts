/**
 * Whether the name fits the glob, in which '*' stands for any text, also none. Every part between two stars is looked
 * for at its earliest place, which leaves the most to what follows; so the work grows with the name only.
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
