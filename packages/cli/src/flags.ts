import { type Command, Option as Flag } from 'commander'
import { TidingsError } from 'tidings/internal/core/errors'
import { parseJson } from 'tidings/internal/core/json'
import type { Option, OptionSchema, OptionsInput } from 'tidings/internal/core/options'
import type { FlagValues } from './command.ts'

/** What the flag of an option is called, where its name is not enough. */
export interface Written {
  /** Without the dashes, if it differs from the option's name in kebab-case. */
  readonly flag?: string
  /** A second name. */
  readonly alias?: string
  readonly placeholder?: string
  /** Replaces an option text that is about code. */
  readonly doc?: string
  /** The flag may be repeated, or have several values. */
  readonly repeated?: boolean
  /** For what is no plain number, text, duration or switch. */
  read?(value: string | readonly string[], flag: string): unknown
}

export const asText = (placeholder: string, more: { flag?: string; doc?: string } = {}): Written => ({
  placeholder,
  read: (value) => value,
  ...more,
})

export const asJson: Written = {
  placeholder: 'json',
  read(value, flag) {
    try {
      return parseJson(value as string, flag)
    } catch (cause) {
      throw new TidingsError('USAGE', (cause as Error).message, {
        cause,
        hint: `Quote it for the shell: ${flag} '{"key":"value"}'`,
      })
    }
  },
}

/** The flags of an option schema, with its documentation, defaults and bounds. */
export class Flags<S extends OptionSchema> {
  readonly #entries: Entry[]

  /** @param written the flags of options of the kinds 'value' and 'object'; the others of these get no flag */
  constructor(schema: S, written: { readonly [K in keyof S]?: Written } = {}) {
    this.#entries = Object.entries(schema)
      .filter(([name, { kind }]) => (kind !== 'value' && kind !== 'object') || Object.hasOwn(written, name))
      .map(([name, option]) => entryOf(name, option, written[name]))
  }

  addTo(command: Command): Command {
    for (const { flag, placeholder, option, written } of this.#entries)
      command.addOption(new Flag(syntax(flag, placeholder, option, written), describe(option, written?.doc)))
    return command
  }

  /**
   * The flags as the options of a call.
   * @throws the error of the option's check, with the name of the flag
   */
  read(flagValues: FlagValues): OptionsInput<S> {
    const values = this.#entries.flatMap(({ name, flag, option, written }) => {
      const raw = flagValues[toCamelCase(flag)]
      // A switch that is on by default has only a flag to turn it off, so its value is always set.
      if (raw === undefined || (option.kind === 'boolean' && raw === option.defaultValue)) return []
      const value = written?.read ? written.read(raw as string, `--${flag}`) : fromText(raw, option)
      option.parse(value, `--${flag}`)
      return [[name, value]]
    })
    return Object.fromEntries(values)
  }
}

interface Entry {
  readonly name: string
  readonly flag: string
  readonly placeholder: string
  readonly option: Option<unknown, unknown>
  readonly written: Written | undefined
}

const placeholders: Readonly<Record<string, string>> = { duration: 'duration', integer: 'n', text: 'text' }

function entryOf(name: string, option: Option<unknown, unknown>, written: Written | undefined): Entry {
  const choices = option.typeText.replaceAll("'", '').split(/, | or /)
  const placeholder = written?.placeholder ?? placeholders[option.kind] ?? choices.join('|')
  return { name, flag: written?.flag ?? toKebabCase(name), placeholder, option, written }
}

function syntax(flag: string, placeholder: string, option: Option<unknown, unknown>, written?: Written): string {
  if (option.kind === 'boolean') return option.defaultValue === true ? `--no-${flag}` : `--${flag}`
  // Commander calls the value what stands last.
  const names = written?.alias ? `--${written.alias}, --${flag}` : `--${flag}`
  return `${names} <${placeholder}${written?.repeated ? '...' : ''}>`
}

/** The doc line, the bounds and the default: 'How long …. (100ms to 12h; default: 30s)'. */
function describe({ kind, doc: ownDoc, typeText, defaultText }: Option<unknown, unknown>, doc = ownDoc): string {
  if (kind === 'boolean') return doc
  const hasBounds = kind === 'duration' || kind === 'integer'
  const bounds = hasBounds && !typeText.endsWith(String(Number.MAX_SAFE_INTEGER)) ? typeText.split(', ').slice(1) : []
  return `${doc} (${[...bounds, `default: ${defaultText}`].join('; ')})`
}

/** Converts text to the option's type. Other text is left for the option to refuse. */
function fromText(raw: unknown, option: Option<unknown, unknown>): unknown {
  if (option.kind !== 'integer' || typeof raw !== 'string' || raw.trim() === '') return raw
  const number = Number(raw)
  return Number.isNaN(number) ? raw : number
}

export const toKebabCase = (name: string) => name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
const toCamelCase = (flag: string) => flag.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase())
