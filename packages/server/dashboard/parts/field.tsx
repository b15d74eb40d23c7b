import { useId } from 'preact/hooks'

export type Values = Readonly<Record<string, string>>

export interface Field {
  readonly name: string
  readonly label: string
  readonly kind: 'text' | 'number' | 'json' | 'choice' | 'check' | 'time' | 'secret'
  readonly value?: string
  readonly hint?: string
  readonly choices?: readonly (readonly [value: string, label: string])[]
  readonly required?: boolean
  /** What is offered for a text. */
  readonly offers?: readonly string[]
  readonly min?: number
  readonly max?: number
}

interface Props {
  readonly field: Field
  readonly value: string
  readonly onChange: (value: string) => void
}

const types: Partial<Record<Field['kind'], string>> = {
  number: 'number',
  time: 'datetime-local',
  secret: 'password',
}

/** A check box says 'yes' or ''; a time is local, as the browser gives it. */
export function Input({ field, value, onChange }: Props) {
  const id = useId()
  const { label, kind, hint, required = false } = field
  const described = hint ? { 'aria-describedby': `${id}-hint` } : {}
  const note = hint && (
    <small id={`${id}-hint`} class="hint">
      {hint}
    </small>
  )
  if (kind === 'check')
    return (
      <div class="field check">
        <input
          id={id}
          type="checkbox"
          checked={value === 'yes'}
          {...described}
          onChange={(event) => onChange(event.currentTarget.checked ? 'yes' : '')}
        />
        <label for={id}>{label}</label>
        {note}
      </div>
    )
  return (
    <div class="field">
      <label for={id}>{label}</label>
      {control()}
      {note}
    </div>
  )

  function control() {
    if (kind === 'choice')
      return (
        <select id={id} value={value} {...described} onChange={(event) => onChange(event.currentTarget.value)}>
          {field.choices?.map(([one, text]) => (
            <option key={one} value={one}>
              {text}
            </option>
          ))}
        </select>
      )
    if (kind === 'json')
      return (
        <textarea
          id={id}
          rows={10}
          spellcheck={false}
          required={required}
          value={value}
          {...described}
          onInput={(event) => onChange(event.currentTarget.value)}
        />
      )
    return (
      <>
        <input
          id={id}
          type={(types[kind] ?? 'text') as 'text'}
          step={kind === 'time' ? 1 : undefined}
          autocomplete="off"
          required={required}
          min={field.min}
          max={field.max}
          value={value}
          list={field.offers && `${id}-list`}
          {...described}
          onInput={(event) => onChange(event.currentTarget.value)}
        />
        {field.offers && (
          <datalist id={`${id}-list`}>
            {field.offers.map((one) => (
              <option key={one} value={one} />
            ))}
          </datalist>
        )}
      </>
    )
  }
}
