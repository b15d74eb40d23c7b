import { checkQueueName } from '../core/names.ts'
import * as option from '../core/options.ts'
import { checkNamespace, checkPrefix } from './channels.ts'

/** A notification that is no event. */
export interface UnreadableEvent {
  readonly channel: string
  readonly text: string
}

type OnParseError = (error: Error, event: UnreadableEvent) => void
type OnConnectionError = (error: unknown) => void

/** Which events come; shared with the command line. */
export const selectionOptions = {
  namespace: option.text('Only events of queues in this namespace.', { default: null, check: checkNamespace }),
  queue: option.text('Only events of this queue.', {
    default: null,
    check: (name, path) => void checkQueueName(name, path),
  }),
  prefix: option.text('What the names of the channels start with, as in the migration.', {
    default: null,
    check: checkPrefix,
  }),
} as const

export const eventsOptions = {
  ...selectionOptions,
  namespace: option.value<string | readonly string[], readonly string[] | null>(
    'Only events of queues in this namespace, or in these.',
    { default: null, defaultText: 'any', typeText: 'text or array of texts', parse: parseNamespaces },
  ),
  buffer: option.integer('How many events wait for their reader at most; what comes while it is full is dropped.', {
    min: 1,
    max: 1_000_000,
    default: 1_000,
  }),
  onParseError: option.value<OnParseError | undefined, OnParseError | null>('Told of what came that is no event.', {
    default: null,
    defaultText: 'a warning in the log',
    typeText: 'function (error, { channel, text })',
    parse: option.parseFunction<OnParseError>,
  }),
  onConnectionError: option.value<OnConnectionError | undefined, OnConnectionError | null>(
    'Told when the connection breaks or cannot be made. What happens until it is back is missed: look into the queues.',
    {
      default: null,
      defaultText: 'a warning in the log',
      typeText: 'function (error)',
      parse: option.parseFunction<OnConnectionError>,
    },
  ),
} as const
export type EventsOptions = option.OptionsInput<typeof eventsOptions>

function parseNamespaces(value: unknown, path: string): readonly string[] {
  const namespaces: unknown[] = Array.isArray(value) ? value : [value]
  if (namespaces.length === 0) throw option.typeError(path, value, 'a text, or an array of at least one')
  return namespaces.map((one) => {
    if (typeof one !== 'string') throw option.typeError(path, one, 'a text')
    checkNamespace(one, path)
    return one
  })
}
