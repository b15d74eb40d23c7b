import { Option } from 'commander'
import { TidingsError } from 'tidings/internal/core/errors'
import {
  declarableSettings,
  pauseOptions,
  type QueueSettingsChange,
  queueSettings,
} from 'tidings/internal/messages/settings'
import type { QueueSettings } from 'tidings/internal/messages/states'
import { command, queueArgument } from '../command.ts'
import { withContext } from '../context.ts'
import { asText, Flags, toKebabCase } from '../flags.ts'
import { table, toText } from '../output.ts'

const flags = new Flags(declarableSettings, {
  backoff: {
    placeholder: '30s|exponential,first=1s,max=10m',
    read(value, flag) {
      const [curve, ...rest] = String(value).split(',')
      if (curve !== 'exponential' && curve !== 'linear') return value
      const fields = rest.length === 0 ? [] : pairsIn(rest.join(','), flag)
      return { curve, ...Object.fromEntries(fields.map(([name, text]) => [name, numberOr(text)])) }
    },
  },
  deadLetter: {
    placeholder: 'queue|none',
    doc: 'Where messages go that failed too often; none keeps them in the archive.',
    read: (value) => (value === 'none' ? false : value),
  },
  retention: {
    placeholder: 'keepFor=30d,keep=1000',
    read: (value, flag) =>
      Object.fromEntries(pairsIn(String(value), flag).map(([name, text]) => [name, numberOr(text)])),
  },
  limits: {
    flag: 'limit',
    placeholder: 'per=group,concurrency=2,rate=100/min,burst=10',
    repeated: true,
    read: (values, flag) => [values].flat().map((value) => Object.fromEntries(pairsIn(value, flag).map(limitField))),
  },
  weights: {
    flag: 'weight',
    placeholder: 'group=number',
    repeated: true,
    read: (values, flag) =>
      Object.fromEntries(
        [values].flat().flatMap((value) => pairsIn(value, flag).map(([group, weight]) => [group, Number(weight)])),
      ),
  },
})

/** 'a=1,b=2'. @throws USAGE */
function pairsIn(text: string, flag: string): [string, string][] {
  return text.split(',').map((pair) => {
    const at = pair.lastIndexOf('=')
    if (at > 0) return [pair.slice(0, at).trim(), pair.slice(at + 1).trim()]
    throw new TidingsError('USAGE', `${flag} has '${pair}', which is no name=value`, {
      hint: 'For example --limit per=group,concurrency=2,rate=100/min, --weight gold=3 or --retention keepFor=30d.',
    })
  })
}

/** Durations may be texts. */
const numberOr = (text: string) => (/^[\d.]+$/.test(text) ? Number(text) : text)

const limitField = ([name, value]: [string, string]) => [
  name,
  /^(concurrency|burst)$/.test(name) ? Number(value) : value,
]

export const set = () =>
  flags
    .addTo(
      command(
        'set',
        'Changes settings that hold for whoever uses the queue.',
        'tidings queue set hires --limit per=group,concurrency=2,rate=100/min --weight gold=3',
        'tidings queue set hires --max-length 10000 --ttl 1d --retention keepFor=30d',
        'tidings queue set hires --unset ttl',
      ),
    )
    .addArgument(queueArgument())
    .addOption(
      new Option('--unset <name...>', 'Takes settings away.').choices(Object.keys(queueSettings).map(toKebabCase)),
    )
    .action(
      withContext(async ({ flagValues, out, connect }, name) => {
        const unset = (flagValues.unset as string[] | undefined) ?? []
        const taken = Object.keys(queueSettings).filter((one) => unset.includes(toKebabCase(one)))
        const change: QueueSettingsChange = {
          ...Object.fromEntries(taken.map((one) => [one, null])),
          ...flags.read(flagValues),
        }
        if (Object.keys(change).length === 0)
          throw new TidingsError('USAGE', 'nothing to set is given', {
            hint: 'Name settings with their values, or with --unset what is to be taken away.',
          })
        const settings = await (await connect()).queue(name!).configure(change)
        out.result({ queue: name, settings }, () => describe(name!, settings))
      }),
    )

const pauseFlags = new Flags(pauseOptions, { until: asText('time') })

export const pause = () =>
  pauseFlags
    .addTo(
      command(
        'pause',
        'Hands out no more messages, to nobody. Sends go on, and what is in hand ends.',
        'tidings queue pause hires --reason "the mail server is down"',
        'tidings queue pause hires --until 2026-05-01T08:00:00Z',
      ),
    )
    .addArgument(queueArgument())
    .action(
      withContext(async ({ flagValues, out, connect }, name) => {
        const queue = (await connect()).queue(name!)
        await queue.pause(pauseFlags.read(flagValues))
        const { pause } = await queue.settings()
        out.result(
          { queue: name, pause },
          () => `queue ${name} is paused${pause?.until ? ` until ${pause.until.toISOString()}` : ''}`,
        )
      }),
    )

export const resume = () =>
  command('resume', 'Hands out messages again.', 'tidings queue resume hires')
    .addArgument(queueArgument())
    .action(
      withContext(async ({ out, connect }, name) => {
        await (await connect()).queue(name!).resume()
        out.result({ queue: name, pause: null }, () => `queue ${name} is not paused`)
      }),
    )

export const show = () =>
  command('show', 'Shows the settings of a queue that hold for whoever uses it.', 'tidings queue show hires')
    .addArgument(queueArgument())
    .action(
      withContext(async ({ out, connect }, name) => {
        const settings = await (await connect()).queue(name!).settings()
        out.result({ queue: name, settings }, () => describe(name!, settings))
      }),
    )

function describe(queue: string, settings: QueueSettings): string {
  const all = Object.entries(settings)
  if (all.length === 0) return `queue ${queue} has no settings`
  return table(all, [
    ['SETTING', ([name]) => toKebabCase(name)],
    ['VALUE', ([, value]) => (typeof value === 'string' ? value : toText(value))],
  ])
}
