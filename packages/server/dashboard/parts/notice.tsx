import { signal } from '@preact/signals'
import type { ComponentChildren } from 'preact'
import type { ApiError } from '../api.ts'
import { Shown } from './shown.tsx'

/** What went wrong, with the way out and the code that the documentation lists. */
export function Failure({ error }: { error: ApiError }) {
  return (
    <div class="failure" role="alert">
      <p>
        <strong>
          <Shown text={error.message} />
        </strong>
        {error.code && <code class="code">{error.code}</code>}
      </p>
      {error.hint && (
        <p>
          <Shown text={error.hint} />
        </p>
      )}
    </div>
  )
}

/** Nothing is there: what it would be, and the command that makes the first one. */
export function Empty({ children, command }: { children: ComponentChildren; command?: string }) {
  return (
    <div class="empty">
      <p>{children}</p>
      {command && (
        <p>
          <code class="command">{command}</code>
        </p>
      )}
    </div>
  )
}

interface Said {
  readonly text: string
  readonly number: number
}
const said = signal<Said | null>(null)
let timer: ReturnType<typeof setTimeout> | undefined

/** Tells what was done, for eyes and screen readers; it goes by itself. */
export function say(text: string): void {
  said.value = { text, number: (said.value?.number ?? 0) + 1 }
  clearTimeout(timer)
  timer = setTimeout(() => {
    said.value = null
  }, 6_000)
}

export const Sayings = () => (
  <div class="sayings" role="status" aria-live="polite">
    {said.value && (
      <p key={said.value.number}>
        <Shown text={said.value.text} />
      </p>
    )}
  </div>
)
