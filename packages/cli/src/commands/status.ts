import { setTimeout as sleep } from 'node:timers/promises'
import type { Bus } from 'tidings/internal/bus/bus'
import { isTidingsError } from 'tidings/internal/core/errors'
import * as option from 'tidings/internal/core/options'
import { command, queuesArgument } from '../command.ts'
import { withContext } from '../context.ts'
import { type Figures, figuresOf, figuresTable } from '../figures.ts'
import { dim, type Output, toText } from '../output.ts'

const interval = option.duration('Shows them again and again.', { default: 2_000, min: 100, max: 3_600_000 })

export const status = () =>
  command('status', 'Shows how many messages are where.', 'tidings status', 'tidings status hires invoices --watch 5s')
    .addArgument(queuesArgument('names of queues; all if none is given'))
    .option('--watch [interval]', `${interval.doc} (duration; default: ${interval.defaultText})`)
    .action(
      withContext(async (context, ...args) => {
        const { flagValues, out } = context
        const names = (args[0] ?? []) as unknown as readonly string[]
        const everyMs =
          typeof flagValues.watch === 'string' ? interval.parse(flagValues.watch, '--watch') : interval.defaultValue
        const bus = await context.connect()
        if (flagValues.watch !== undefined) return watch(bus, out, names, everyMs)
        const figures = await figuresOf(bus, names)
        out.result(figures, () => figuresTable(figures))
      }),
    )

/** Repeats until the user stops it: in place on a terminal, one after the other elsewhere. */
async function watch(bus: Bus, out: Output, names: readonly string[], everyMs: number): Promise<void> {
  const stopped = new AbortController()
  process.once('SIGINT', () => stopped.abort()).once('SIGTERM', () => stopped.abort())
  while (!stopped.signal.aborted) {
    await show(bus, out, names)
    await sleep(everyMs, undefined, { signal: stopped.signal }).catch(() => {})
  }
}

async function show(bus: Bus, out: Output, names: readonly string[]): Promise<void> {
  try {
    const figures = await figuresOf(bus, names)
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
