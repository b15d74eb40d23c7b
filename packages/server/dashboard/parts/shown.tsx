import type { ComponentChildren } from 'preact'

/** Controls, marks of direction, and what has no width: a reader would not see them, or be misled by them. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what it looks for
const unseen = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g

/** Text that somebody else wrote: as text, with what is invisible made visible. */
export function Shown({ text }: { text: string }) {
  const parts: ComponentChildren[] = []
  let from = 0
  for (const { 0: found, index } of text.matchAll(unseen)) {
    const code = codeOf(found)
    parts.push(text.slice(from, index))
    parts.push(
      <span class="control" title={`U+${code}`}>
        ‹{code}›
      </span>,
    )
    from = index + found.length
  }
  if (from === 0) return <>{text}</>
  return (
    <>
      {parts}
      {text.slice(from)}
    </>
  )
}

/** The same where there is no room for more than text: in a picture, or a name for screen readers. */
export const visible = (text: string) => text.replace(unseen, (found) => `‹${codeOf(found)}›`)

const codeOf = (found: string) => found.charCodeAt(0).toString(16).toUpperCase().padStart(4, '0')

/** One line of it: line breaks are shown too. */
export const Line = ({ text, most = 200 }: { text: string; most?: number }) => (
  <Shown text={(text.length > most ? `${text.slice(0, most)}…` : text).replace(/\s*\n\s*/g, ' ⏎ ')} />
)
