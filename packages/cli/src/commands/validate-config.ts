import { resolve } from 'node:path'
import { showDuration } from 'tidings/internal/core/duration'
import { show, TidingsError } from 'tidings/internal/core/errors'
import { toJson } from 'tidings/internal/core/json'
import type { Option } from 'tidings/internal/core/options'
import { command } from '../command.ts'
import { readConfigFile } from '../config/file.ts'
import { type CheckedConfig, readConfig } from '../config/load.ts'
import { type Section, sections } from '../config/settings.ts'
import { fromTasker, isTasker } from '../config/tasker.ts'
import { type Context, urlOf, withContext } from '../context.ts'
import { redact, targetOf } from '../environment.ts'
import { bold, dim, printable, red } from '../output.ts'

export const validateConfig = () =>
  command(
    'validate-config',
    'Shows the settings that are in effect, or everything that is wrong with them; exits with 1 then.',
    'tidings validate-config',
    'tidings validate-config deploy/tidings.config.toml --json',
  )
    .argument('[file]', 'the configuration file; without it the one of the working directory')
    .action(
      withContext(async (context, argument) => {
        const { flagValues } = context
        if (argument !== undefined && flagValues.config !== undefined)
          throw new TidingsError('OPTION_CONFLICT', 'a file and --config are both given')
        const path = argument ?? flagValues.config
        const old = path === undefined ? undefined : await readConfigFile(resolve(path)).catch(() => undefined)
        if (isTasker(old)) return tellOurs(context, path!, old)
        const checked = await readConfig(path)
        if (checked.file === null)
          throw new TidingsError('USAGE', 'there is no configuration file in the working directory', {
            hint: '`tidings init` writes one.',
          })
        return checked.problems.length > 0 ? tellProblems(context, checked) : tellSettings(context, checked)
      }),
    )

/** A file of tasker-pgmq, in our names. */
function tellOurs({ out }: Context, file: string, old: object): void {
  const toml = fromTasker(old)
  out.result(
    { file, valid: true, toml },
    () => `${bold(`${file} is of tasker-pgmq; tidings.config.toml would be:`)}\n\n${toml}`,
  )
}

function tellProblems({ out }: Context, { file, problems }: CheckedConfig): void {
  process.exitCode = 1
  const rows = problems.map((problem) => {
    const { code, message, hint } = problem.toJSON()
    return { path: (problem.details.field as string | undefined) ?? null, code, message, hint }
  })
  out.result({ file, valid: false, problems: rows }, () =>
    [
      `${file} has ${problems.length === 1 ? 'an error' : `${problems.length} errors`}`,
      ...rows.flatMap(({ message, hint }) => [
        `  ${red('✗')} ${printable(message)}`,
        ...(hint ? [dim(`      ${hint}`)] : []),
      ]),
    ].join('\n'),
  )
}

interface Setting {
  readonly path: string
  /** The value in JSON. */
  readonly value: unknown
  readonly text: string
  /** The source of the value. */
  readonly source: string
}

function tellSettings({ flagValues, out }: Context, checked: CheckedConfig): void {
  const file = checked.file as string
  const { url, source } = targetOf(flagValues.url, process.env, urlOf(checked))
  const where = { path: 'url', value: redact(url), text: redact(url), source }
  const settings = [where, ...settingsOf(checked).filter(({ path }) => path !== 'url')]
  const width = Math.max(...settings.map(({ path }) => path.length))
  out.result({ file, valid: true, settings: settings.map(({ text: _, ...setting }) => setting) }, () =>
    [
      bold(`${file} is valid`),
      ...settings.map((one) => {
        const text = `${one.path.padEnd(width)}  ${printable(one.text)}`
        return one.source === file ? text : `${text}  ${dim(`(${one.source})`)}`
      }),
    ].join('\n'),
  )
}

function settingsOf({ file, config }: CheckedConfig): Setting[] {
  return sections.flatMap((section) => {
    switch (section.path) {
      case '':
        return withDefaults(section, '', config, file)
      case 'process':
      case 'events':
      case 'sentinel':
      case 'serve':
        return withDefaults(section, `${section.path}.`, config[section.path] ?? {}, file)
      default: {
        // Only what is set: the rest is listed under other sections, or is many defaults.
        const group = section.path === 'schedules.NAME' ? 'schedules' : 'queues'
        return Object.entries(config[group] ?? {}).flatMap(([name, own]) =>
          withDefaults(section, `${group}.${name}.`, own, file).filter(({ source }) => source === file),
        )
      }
    }
  })
}

function withDefaults({ schema }: Section, prefix: string, settings: object, file: string | null): Setting[] {
  const values = settings as Readonly<Record<string, unknown>>
  return Object.entries(schema).map(([name, option]) => {
    const path = `${prefix}${name}`
    if (values[name] === undefined)
      return { path, value: defaultForPrograms(option), text: option.defaultText, source: 'default' }
    return {
      path,
      value: forPrograms(values[name], option),
      text: forPeople(option, values[name], path),
      source: file ?? '',
    }
  })
}

function forPeople(option: Option<unknown, unknown>, value: unknown, path: string): string {
  if (option.kind === 'json') return toJson(value, path)
  if (value instanceof Date) return value.toISOString()
  if (option.kind === 'duration') return showDuration(option.parse(value, path) as number)
  return typeof value === 'string' || typeof value === 'number' ? String(value) : show(value)
}

const defaultForPrograms = (option: Option<unknown, unknown>) =>
  typeof option.defaultValue === 'function' ? option.defaultText : forPrograms(option.defaultValue, option)

const forPrograms = (value: unknown, { kind }: Option<unknown, unknown>) =>
  kind !== 'json' && (typeof value === 'function' || (typeof value === 'object' && value !== null))
    ? show(value)
    : value
