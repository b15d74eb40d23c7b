import { show, TidingsError } from 'tidings/internal/core/errors'
import * as option from 'tidings/internal/core/options'

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
