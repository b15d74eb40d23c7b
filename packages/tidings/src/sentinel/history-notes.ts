import { isInternalQueue, whyUnusable } from '../core/names.ts'
import type { Engine } from '../port/engine.ts'
import { noGauges, sumOf } from '../port/history.ts'

/** So many queues are noted in one call, which locks each of them for a moment. */
const atOnce = 100

/** Notes what lies in the queues, if nobody did so in this minute. */
export async function noteHistory(engine: Engine): Promise<void> {
  const { writer } = engine.history
  const turn = await writer?.begin()
  if (!writer || !turn) return
  const names = (await engine.describe(null)).map(({ queue }) => queue)
  // In the order of counts that are added, so that these and notes do not lock rows of each other.
  const queues = names.filter((queue) => !isInternalQueue(queue) && whyUnusable(queue) === undefined).sort()
  let total: Parameters<typeof writer.end>[1] = noGauges
  for (let from = 0; from < queues.length; from += atOnce)
    total = sumOf([total, await writer.note(turn, queues.slice(from, from + atOnce))])
  await writer.end(turn, total)
}
