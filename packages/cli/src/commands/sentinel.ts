import { TidingsError } from 'tidings/internal/core/errors'
import type { SentinelOptions } from 'tidings/internal/sentinel/options'
import type { CheckResult, Sentinel } from 'tidings/internal/sentinel/sentinel'
import { command } from '../command.ts'
import { type Context, withContext } from '../context.ts'
import { logger } from '../log.ts'
import { count, type Output, printable, whenOutputCloses } from '../output.ts'
import { declareSchedules } from '../schedules.ts'

export const sentinel = () =>
  command(
    'sentinel',
    'Watches queues and topics by the rules of the configuration file until Ctrl-C, prunes archives and ends expired messages. Of several one is active.',
    'tidings sentinel',
    'tidings sentinel --once',
  )
    .option('--once', 'Looks once and shows what is beyond its limit; exits with 1 if something is.')
    .action(
      withContext(async (context) => {
        const options = await optionsOf(context)
        return context.flagValues.once === true ? checkOnce(context, options) : watch(context, options)
      }),
    )

/** @throws USAGE if there is nothing to do */
async function optionsOf(context: Context): Promise<SentinelOptions> {
  const { config } = await context.config()
  const { rules = [], archives = [], expire = [] } = config.sentinel ?? {}
  const once = context.flagValues.once === true
  const hasOther = archives.length + expire.length > 0 || config.owner !== undefined
  if (rules.length === 0 && (once || !hasOther))
    throw new TidingsError('USAGE', 'the configuration has no rules for the sentinel', {
      hint: "Add `sentinel: { rules: [{ queues: '*', maxOldestReady: '10m', maxDead: 0 }] }` to the configuration file.",
    })
  return config.sentinel ?? {}
}

async function checkOnce({ out, connect }: Context, options: SentinelOptions): Promise<void> {
  const result = await (await connect()).sentinel(options).check()
  if (options.rules?.some((rule) => rule.stalledAfter !== undefined))
    out.note('whether a queue is stalled takes more than one look, so stalledAfter was left out')
  const { alerts, queues, subscriptions } = result
  out.result({ alerts, queues, subscriptions }, () => describe(result))
  if (alerts.length > 0) process.exitCode = 1
}

function describe({ alerts, queues, subscriptions }: CheckResult): string {
  if (alerts.length > 0) return alerts.map(({ message }) => printable(message)).join('\n')
  return `all is within its limits: ${count(queues.length, 'queue')}, ${count(subscriptions.length, 'subscription')}`
}

async function watch({ out, connect, config }: Context, options: SentinelOptions): Promise<void> {
  const bus = await connect(await logger(out))
  await declareSchedules(bus, await config(), (text) => out.note(text))
  const sentinel = bus.sentinel(options)
  const told = untilToldToStop(sentinel, out)
  await sentinel.start()
  out.note('the sentinel is running; Ctrl-C stops')
  await told
}

function untilToldToStop(sentinel: Sentinel, out: Output): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = () => void sentinel.stop().then(resolve, reject)
    const stopAndSay = () => {
      out.note('stopping')
      stop()
    }
    process.once('SIGINT', stopAndSay).once('SIGTERM', stopAndSay)
    whenOutputCloses(stop)
  })
}
