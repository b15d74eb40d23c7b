import type { ComponentChildren } from 'preact'
import { useEffect } from 'preact/hooks'
import type { ApiError } from '../api.ts'
import { Failure } from './notice.tsx'
import { Shown } from './shown.tsx'

interface Props {
  /** Of the page, for tests and styles: 'messages'. */
  readonly name: string
  readonly title: string
  /** Ways up: what the page belongs to. */
  readonly above?: readonly (readonly [label: string, href: string])[]
  readonly badges?: ComponentChildren
  readonly actions?: ComponentChildren
  readonly isLoaded: boolean
  readonly error?: ApiError | null
  readonly children?: ComponentChildren
}

export function Page({ name, title, above = [], badges, actions, isLoaded, error, children }: Props) {
  const whole = [title, ...above.map(([label]) => label).reverse()].join(' · ')
  useEffect(() => {
    document.title = `${whole} · Tidings`
  }, [whole])
  return (
    <main id="main" tabIndex={-1} data-page={name} data-loaded={isLoaded || error ? '' : undefined}>
      <header class="page-head">
        <div class="page-title">
          {above.length > 0 && (
            <nav aria-label="Above" class="above">
              {above.map(([label, to]) => (
                <a key={to} href={to}>
                  <Shown text={label} />
                </a>
              ))}
            </nav>
          )}
          <h1>
            <Shown text={title} />
          </h1>
          {badges}
        </div>
        {actions && <div class="actions">{actions}</div>}
      </header>
      {error && <Failure error={error} />}
      {isLoaded ? children : !error && <p class="waiting">Loading…</p>}
    </main>
  )
}

export const Section = ({
  title,
  actions,
  children,
}: {
  title: string
  actions?: ComponentChildren
  children: ComponentChildren
}) => (
  <section>
    <header class="section-head">
      <h2>{title}</h2>
      {actions && <div class="actions">{actions}</div>}
    </header>
    {children}
  </section>
)

/** Figures side by side. */
export function Figures({ of }: { of: readonly Figure[] }) {
  return (
    <dl class="figures">
      {of.map(({ label, value, tone, hint, to }) => (
        <div key={label} class={tone && value !== '0' ? `tone-${tone}` : ''} title={hint}>
          <dt>{label}</dt>
          <dd>{to ? <a href={to}>{value}</a> : value}</dd>
        </div>
      ))}
    </dl>
  )
}

export interface Figure {
  readonly label: string
  readonly value: ComponentChildren
  readonly tone?: 'ready' | 'hand' | 'wait' | 'bad' | 'good' | undefined
  readonly hint?: string
  readonly to?: string
}

/** Names and values, one below the other; those without a value are left out. */
export const Facts = ({ of }: { of: readonly (readonly [string, ComponentChildren])[] }) => (
  <dl class="facts">
    {of
      .filter(([, value]) => value !== null)
      .map(([label, value]) => (
        <div key={label}>
          <dt>
            <Shown text={label} />
          </dt>
          <dd>{value}</dd>
        </div>
      ))}
  </dl>
)

export const Badge = ({ tone = 'plain', children }: { tone?: string; children: ComponentChildren }) => (
  <span class={`badge badge-${tone}`}>{children}</span>
)

/** Views beside one another. */
export const Tabs = ({
  label,
  of,
}: {
  label: string
  of: readonly { label: string; to: string; isHere: boolean; count?: string | undefined }[]
}) => (
  <nav class="tabs" aria-label={label}>
    {of.map(({ label: text, to, isHere, count }) => (
      <a key={to} href={to} aria-current={isHere ? 'page' : undefined}>
        {text}
        {count !== undefined && <span class="tab-count">{count}</span>}
      </a>
    ))}
  </nav>
)
