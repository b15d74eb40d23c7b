import { setTimeout as sleep } from 'node:timers/promises'
import { queueListOptions } from 'tidings/internal/bus/queue-list'
import { isTidingsError } from 'tidings/internal/core/errors'
import * as option from 'tidings/internal/core/options'
import { command, queuesArgument } from '../command.ts'
import { withContext } from '../context.ts'
import { type Figures, figuresOf, figuresTable } from '../figures.ts'
import { Flags } from '../flags.ts'
import { dim, type Output, toText } from '../output.ts'

const interval = option.duration('Shows them again and again.', { default: 2_000, min: 100, max: 3_600_000 })

const listFlags = new Flags(queueListOptions)

export const status = () =>
  listFlags
    .addTo(
      command(
        'status',
        'Shows how many messages are where.',
        'tidings status',
        'tidings status hires invoices --watch 5s',
      ),
    )
    .addArgument(queuesArgument('names of queues; all if none is given'))
    .option('--watch [interval]', `${interval.doc} (duration; default: ${interval.defaultText})`)
    .action(
      withContext(async (context, ...args) => {
        const { flagValues, out } = context
        const names = (args[0] ?? []) as unknown as readonly string[]
        const everyMs =
          typeof flagValues.watch === 'string' ? interval.parse(flagValues.watch, '--watch') : interval.defaultValue
        const bus = await context.connect()
        const look = () => figuresOf(bus, names, listFlags.read(flagValues))
        if (flagValues.watch !== undefined) return watch(look, out, everyMs)
        const figures = await look()
        out.result(figures, () => figuresTable(figures))
      }),
    )

/** Repeats until the user stops it: in place on a terminal, one after the other elsewhere. */
async function watch(look: () => Promise<Figures[]>, out: Output, everyMs: number): Promise<void> {
  const stopped = new AbortController()
  process.once('SIGINT', () => stopped.abort()).once('SIGTERM', () => stopped.abort())
  while (!stopped.signal.aborted) {
    await show(look, out)
    await sleep(everyMs, undefined, { signal: stopped.signal }).catch(() => {})
  }
}

async function show(look: () => Promise<Figures[]>, out: Output): Promise<void> {
  try {
    const figures = await look()
    out.line(out.json ? toText(figures) : inPlace(figures))
  } catch (error) {
    // The server may be restarting.
    if (!isTidingsError(error) || !error.retryable) throw error
    out.note(error.message)
  }
}

function inPlace(figures: readonly Figures[]): string {
  const text = figuresTable(figures)
  return process.stdout.isTTY ? `\u001b[H\u001b[2J${text}\n\n${dim(new Date().toLocaleTimeString())}` : text
}
