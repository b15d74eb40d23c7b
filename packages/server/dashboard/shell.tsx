import { signal } from '@preact/signals'
import type { ComponentChildren } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import { get, keepToken, session, token } from './api.ts'
import { Dialogs } from './parts/dialog.tsx'
import { Sayings } from './parts/notice.tsx'
import { go, href, place, toQueue } from './routes.ts'
import { keep, kept } from './store.ts'
import type { Queue } from './wire.ts'

const pages = [
  ['Overview', []],
  ['Dead letters', ['dead-letters']],
  ['Schedules', ['schedules']],
  ['Topics', ['topics']],
  ['Correlations', ['correlations']],
  ['Processes', ['processes']],
  ['Doctor', ['doctor']],
] as const

export function Shell({ children }: { children: ComponentChildren }) {
  const { value: now } = session
  return (
    <>
      {/* biome-ignore lint/a11y/useValidAnchor: it leads to the content; the address itself is that of the view */}
      <a class="skip" href="#main" onClick={skip}>
        Skip to content
      </a>
      <header class="top">
        <a class="brand" href={href([])}>
          <svg viewBox="0 0 16 16" width="20" height="20" aria-hidden="true">
            <rect width="16" height="16" rx="4" />
            <path d="M4 5.5h8M4 8h8M4 10.5h5" />
          </svg>
          Tidings
        </a>
        {now?.storage && <Search />}
        <div class="top-end">
          {now?.storage && <span class="muted engine">{now.storage.engine}</span>}
          {now?.storage && now.readOnly && <span class="badge">Read-only</span>}
          {now?.who && <span class="muted who">{now.who}</span>}
          {token.value && (
            <button type="button" class="quiet" onClick={() => keepToken('')}>
              Sign out
            </button>
          )}
          <ThemeSwitch />
        </div>
      </header>
      <nav class="side" aria-label="Pages">
        {pages.map(([label, path]) => (
          <a key={label} href={href(path)} aria-current={isIn(path) ? 'page' : undefined}>
            {label}
          </a>
        ))}
        <span class="version muted">{now?.version}</span>
      </nav>
      {children}
      <Dialogs />
      <Sayings />
    </>
  )
}

/** A queue and its messages belong to the overview. */
function isIn([first = '']: readonly string[]): boolean {
  const [here = ''] = place.value.path
  return here === first || (first === '' && here === 'queues')
}

function skip(event: Event): void {
  event.preventDefault()
  document.getElementById('main')?.focus()
}

/** Leads to a queue; what is no queue's name narrows the overview. */
function Search() {
  const field = useRef<HTMLInputElement>(null)
  const [queues, setQueues] = useState<readonly string[]>([])
  useEffect(() => {
    const focus = (event: KeyboardEvent) => {
      const { target } = event
      if (event.key !== '/' || event.ctrlKey || event.metaKey || event.altKey) return
      if (target instanceof HTMLElement && target.closest('input, textarea, select, dialog')) return
      event.preventDefault()
      // That of the page goes first.
      const own = document.querySelector<HTMLInputElement>('main input[type=search]')
      ;(own ?? field.current)?.focus()
    }
    document.addEventListener('keydown', focus)
    return () => document.removeEventListener('keydown', focus)
  }, [])
  const fill = async () => {
    const found = await get<{ queues: Queue[] }>('v1/queues').catch(() => null)
    if (found) setQueues(found.queues.map((one) => one.queue_name))
  }
  const submit = (event: Event) => {
    event.preventDefault()
    const text = field.current?.value.trim() ?? ''
    if (text === '') return
    go(queues.includes(text) ? toQueue(text) : href([], { q: text }))
    if (field.current) field.current.value = ''
  }
  return (
    <search class="search">
      <form onSubmit={submit}>
        <input
          ref={field}
          type="search"
          name="queue"
          aria-label="Find a queue"
          placeholder="Find a queue"
          autocomplete="off"
          list="queue-names"
          onFocus={() => void fill()}
        />
        <datalist id="queue-names">
          {queues.slice(0, 1_000).map((one) => (
            <option key={one} value={one} />
          ))}
        </datalist>
      </form>
    </search>
  )
}

const themeKey = 'tidings-theme'
const themes = ['system', 'light', 'dark'] as const
type Theme = (typeof themes)[number]
const theme = signal<Theme>(themes.find((one) => one === kept('localStorage', themeKey)) ?? 'system')

theme.subscribe((value) => {
  const { dataset } = document.documentElement
  if (value === 'system') delete dataset.theme
  else dataset.theme = value
  keep('localStorage', themeKey, value)
})

const ThemeSwitch = () => (
  <label class="theme">
    <span class="unseen">Theme</span>
    <select
      value={theme.value}
      onChange={(event) => {
        theme.value = event.currentTarget.value as Theme
      }}
    >
      <option value="system">System</option>
      <option value="light">Light</option>
      <option value="dark">Dark</option>
    </select>
  </label>
)
