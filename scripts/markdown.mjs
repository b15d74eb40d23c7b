// Links of Markdown, where pages are put elsewhere: the site, the packages.
import { posix } from 'node:path'

/** @param change is given what is no fenced code */
export const outsideOfFences = (text, change) =>
  text
    .split(/(^```[\s\S]*?^```$)/m)
    .map((part, index) => (index % 2 ? part : change(part)))
    .join('')

/**
 * @param resolve says where a target leads on the new page; undefined: nowhere, and what was a link is named without one
 */
export const rewriteLinks = (text, resolve) =>
  outsideOfFences(text, (part) =>
    part.replaceAll(/(!?\[(?:[^\]`]|`[^`]*`)*\])(?:\(([^)\s]+)\)|:[ ]+(\S+)$)/gm, (_, label, inline, reference) => {
      const target = resolve(inline ?? reference)
      if (target === undefined) return inline === undefined ? '' : label.slice(1, -1)
      return inline === undefined ? `${label}: ${target}` : `${label}(${target})`
    }),
  )

export const isElsewhere = (target) => /^(https?:|mailto:)/.test(target)

/** The file and the anchor that a target names, seen from a file. */
export function targetOf(from, target) {
  const [path, anchor] = target.split('#')
  const file = path === '' ? from : posix.normalize(posix.join(posix.dirname(from), path)).replace(/\/$/, '')
  return { file, anchor }
}
