import { isDeepStrictEqual } from 'node:util'
import { Option } from 'commander'
import type { Bus } from 'tidings/internal/bus/bus'
import { isTidingsError } from 'tidings/internal/core/errors'
import { parseSettings, type QueueSettingsChange } from 'tidings/internal/messages/settings'
import { command } from '../command.ts'
import type { QueueSettings } from '../config/settings.ts'
import { withContext } from '../context.ts'
import { table, toText } from '../output.ts'

export const apply = () =>
  command(
    'apply',
    'Stores what the configuration file has under `queues.NAME.settings`, and creates queues that are missing.',
    'tidings queue apply --dry-run',
    'tidings queue apply',
  )
    .addOption(new Option('--dry-run', 'Shows what would change, and changes nothing.'))
    .action(
      withContext(async ({ flagValues, out, connect, config }) => {
        const { file, config: checked } = await config()
        const isDry = flagValues.dryRun === true
        const bus = await connect()
        const results: Applied[] = []
        for (const [name, own] of Object.entries(checked.queues ?? {}))
          if (own.settings !== undefined) {
            const applied = await applyTo(bus, name, own, isDry).catch((error) => {
              throw isTidingsError(error) ? error.within(`${file}: queues.${name}.settings`) : error
            })
            results.push(applied)
          }
        out.result(results, () => describe(results))
      }),
    )

interface Applied {
  readonly queue: string
  /** The queue was missing. */
  readonly created: boolean
  readonly changes: Readonly<Record<string, { readonly from: unknown; readonly to: unknown }>>
}

async function applyTo(bus: Bus, name: string, own: QueueSettings, isDry: boolean): Promise<Applied> {
  const queue = bus.queue(name)
  const change = own.settings as QueueSettingsChange
  const stored = await queue.settings().catch((error) => {
    if (isTidingsError(error, 'QUEUE_NOT_FOUND')) return undefined
    throw error
  })
  const known = (stored ?? {}) as Readonly<Record<string, unknown>>
  const wanted = Object.entries(parseSettings(change, Date.now()))
  const changes = wanted
    .map(([setting, to]) => [setting, { from: known[setting] ?? null, to }] as const)
    .filter(([, { from, to }]) => !isDeepStrictEqual(from, to))
  const isMissing = stored === undefined
  if (!isDry && isMissing && own.create !== false) await queue.create()
  if (!isDry && changes.length > 0) await queue.configure(change)
  return { queue: name, created: isMissing, changes: Object.fromEntries(changes) }
}

function describe(results: readonly Applied[]): string {
  const rows = results.flatMap(({ queue, created, changes }) => [
    ...(created ? [{ queue, setting: 'the queue itself', from: 'missing', to: 'created' }] : []),
    ...Object.entries(changes).map(([setting, { from, to }]) => ({
      queue,
      setting,
      from: from === null ? 'none' : toText(from),
      to: to === null ? 'none' : toText(to),
    })),
  ])
  if (results.length === 0) return 'the configuration has no queues.NAME.settings'
  if (rows.length === 0) return 'all is stored already'
  return table(rows, [
    ['QUEUE', (row) => row.queue],
    ['SETTING', (row) => row.setting],
    ['FROM', (row) => row.from],
    ['TO', (row) => row.to],
  ])
}
