import { show, TidingsError } from '../errors.ts'
import * as option from '../options.ts'

/** Names of queues and topics: `*` stands for any characters, also none. */
export type Glob = string

export const globsOption = (doc: string) =>
  option.value<readonly Glob[], readonly Glob[]>(doc, {
    default: ['*'],
    defaultText: '*',
    typeText: 'array of names, with * for any characters',
    parse: parseGlobs,
  })

function parseGlobs(value: unknown, path: string): readonly Glob[] {
  if (!Array.isArray(value) || value.length === 0) throw option.typeError(path, value, 'an array of names')
  for (const one of value)
    if (typeof one !== 'string' || !/^[a-z0-9_.*-]{1,100}$/.test(one))
      throw new TidingsError('CONFIG_INVALID', `${path} has ${show(one)}; it must be a name of a queue, with * in it`, {
        details: { field: path },
        hint: "'orders', 'orders*' or '*'.",
      })
  return value
}

/** Every part between two stars is looked for at its earliest place, which leaves the most to what follows. */
export function matchesGlob(glob: Glob, name: string): boolean {
  const parts = glob.split('*')
  const first = parts[0]!
  const last = parts.at(-1)!
  if (parts.length === 1) return name === glob
  if (!name.startsWith(first) || !name.endsWith(last) || name.length < first.length + last.length) return false
  let at = first.length
  for (const part of parts.slice(1, -1)) {
    const found = name.indexOf(part, at)
    if (found < 0 || found + part.length > name.length - last.length) return false
    at = found + part.length
  }
  return true
}
