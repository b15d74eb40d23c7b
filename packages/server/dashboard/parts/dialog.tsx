import { signal } from '@preact/signals'
import type { ComponentChildren } from 'preact'
import { useEffect, useId, useRef, useState } from 'preact/hooks'
import { type ApiError, asError } from '../api.ts'
import { changed } from '../live.ts'
import { isDialogOpen } from '../reading.ts'
import { type Field, Input, type Values } from './field.tsx'
import { Failure, say } from './notice.tsx'

/** An action, as the person is asked about it. */
export interface Action {
  /** What the button says, and the title: 'Pause orders'. */
  readonly verb: string
  readonly title: string
  /** What will happen, and to how many. */
  readonly body?: ComponentChildren
  readonly fields?: readonly Field[]
  /** To be typed in before it is done. */
  readonly typed?: string
  readonly danger?: boolean
  /** What stands below the fields, by what they say now: a preview. */
  readonly preview?: (values: Values) => ComponentChildren
  /** @returns what was done */
  readonly run: (values: Values) => Promise<string>
}

const open = signal<Action | null>(null)

export function askFor(action: Action): void {
  open.value = action
  isDialogOpen.value = true
}

function close(): void {
  open.value = null
  isDialogOpen.value = false
}

export const Dialogs = () => (open.value === null ? null : <Dialog key={open.value.title} action={open.value} />)

function Dialog({ action }: { action: Action }) {
  const { verb, title, body, fields = [], typed, danger = false, preview, run } = action
  const dialog = useRef<HTMLDialogElement>(null)
  const [values, setValues] = useState<Values>(() =>
    Object.fromEntries(fields.map(({ name, value }) => [name, value ?? ''])),
  )
  const [confirmed, setConfirmed] = useState('')
  const [error, setError] = useState<ApiError | null>(null)
  const [busy, setBusy] = useState(false)
  const id = useId()

  useEffect(() => {
    const before = document.activeElement
    dialog.current?.showModal()
    return () => {
      if (before instanceof HTMLElement && before.isConnected) before.focus()
    }
  }, [])

  const submit = async (event: Event) => {
    event.preventDefault()
    setBusy(true)
    setError(null)
    try {
      say(await run(values))
      close()
      changed()
    } catch (caught) {
      setError(asError(caught))
      setBusy(false)
    }
  }

  return (
    <dialog
      ref={dialog}
      aria-labelledby={id}
      onClose={close}
      class={fields.some((one) => one.kind === 'json') ? 'broad' : ''}
    >
      <form method="dialog" onSubmit={(event) => void submit(event)}>
        <h2 id={id}>{title}</h2>
        {body && <div class="dialog-body">{body}</div>}
        {fields.map((field) => (
          <Input
            key={field.name}
            field={field}
            value={values[field.name] ?? ''}
            onChange={(value) => setValues((old) => ({ ...old, [field.name]: value }))}
          />
        ))}
        {preview?.(values)}
        {typed !== undefined && (
          <Input
            field={{ name: 'typed', label: `Type “${typed}” to confirm`, kind: 'text' }}
            value={confirmed}
            onChange={setConfirmed}
          />
        )}
        {error && <Failure error={error} />}
        <div class="dialog-buttons">
          <button type="button" onClick={close}>
            Cancel
          </button>
          <button
            type="submit"
            class={danger ? 'danger filled' : 'filled'}
            disabled={busy || (typed !== undefined && confirmed !== typed)}
          >
            {busy ? 'Working…' : verb}
          </button>
        </div>
      </form>
    </dialog>
  )
}

/** Does it at once, and tells what came of it. */
export async function doNow(run: () => Promise<string>): Promise<void> {
  try {
    say(await run())
  } catch (error) {
    const { message, code, hint } = asError(error)
    say([message, hint, code && `(${code})`].filter(Boolean).join(' '))
  }
  changed()
}
