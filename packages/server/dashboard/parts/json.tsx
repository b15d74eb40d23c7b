import type { ComponentChildren } from 'preact'
import { useState } from 'preact/hooks'
import { bytes } from './format.ts'
import { Shown } from './shown.tsx'

const firstPart = 20_000
/** Beyond this, colours would cost more than they tell. */
const mostColoured = 60_000

/**
 * Lays JSON text out without reading its values, so that every number stays as it was sent.
 * @returns the text as it is where it is no JSON
 */
export function laidOut(json: string): string {
  let out = ''
  let depth = 0
  const line = () => `\n${'  '.repeat(depth)}`
  for (const [token] of json.matchAll(/"(?:[^"\\]|\\.)*"?|[{}[\],:]|[^\s{}[\],:"]+/gs)) {
    const last = out.at(-1)
    if (token === '}' || token === ']') {
      depth -= 1
      out += last === '{' || last === '[' ? token : line() + token
    } else {
      if (last === '{' || last === '[') out += line()
      out += token
      if (token === '{' || token === '[') depth += 1
      else if (token === ',') out += line()
      else if (token === ':') out += ' '
    }
  }
  return out
}

/** JSON text for people; a large one is cut. */
export function JsonText({ text, label }: { text: string; label: string }) {
  const [all, setAll] = useState(false)
  const whole = laidOut(text)
  const isCut = !all && whole.length > firstPart
  const shown = isCut ? whole.slice(0, firstPart) : whole
  return (
    <div class="json">
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls, so that the keyboard has to reach it */}
      <section tabIndex={0} aria-label={label}>
        <pre>
          {shown.length > mostColoured ? <Shown text={shown} /> : coloured(shown)}
          {isCut && '…'}
        </pre>
      </section>
      {isCut && (
        <p class="cut">
          The first {bytes(firstPart)} of {bytes(whole.length)}.{' '}
          <button type="button" onClick={() => setAll(true)}>
            Show all
          </button>
        </p>
      )}
      <Copy text={text} label={label} />
    </div>
  )
}

function coloured(text: string): ComponentChildren[] {
  const parts: ComponentChildren[] = []
  let from = 0
  for (const found of text.matchAll(/("(?:[^"\\]|\\.)*"?)(\s*:)?|\b(?:true|false|null)\b|-?\b\d[\d.eE+-]*/gs)) {
    const [token, quoted, colon] = found
    if (found.index > from) parts.push(text.slice(from, found.index))
    const kind = quoted === undefined ? 'value' : colon === undefined ? 'text' : 'name'
    parts.push(
      <span class={`json-${kind}`}>
        <Shown text={quoted ?? token} />
      </span>,
    )
    if (colon) parts.push(colon)
    from = found.index + token.length
  }
  parts.push(text.slice(from))
  return parts
}

function Copy({ text, label }: { text: string; label: string }) {
  const [done, setDone] = useState(false)
  // Browsers have it in safe contexts alone.
  if (!navigator.clipboard) return null
  const copy = async () => {
    await navigator.clipboard.writeText(text)
    setDone(true)
    setTimeout(() => setDone(false), 1_500)
  }
  return (
    <button type="button" class="copy quiet" aria-label={`Copy ${label}`} onClick={() => void copy()}>
      {done ? 'Copied' : 'Copy'}
    </button>
  )
}
