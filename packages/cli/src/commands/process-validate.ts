import type { Queue } from 'tidings/internal/bus/queue'
import { TidingsError } from 'tidings/internal/core/errors'
import { describeError } from 'tidings/internal/core/message-error'
import type { Context } from '../context.ts'
import type { HandlerModule } from '../handlers/load.ts'
import { count, printable, toText } from '../output.ts'

const pageSize = 1_000

/**
 * Validates every ready message, and lists the invalid ones. Changes nothing.
 * @throws HANDLERS_INVALID for a queue without a validator
 */
export async function validateReady({ out, connect }: Context, modules: readonly HandlerModule[]): Promise<void> {
  for (const { queue, validate, file } of modules)
    if (!validate)
      throw new TidingsError('HANDLERS_INVALID', `No validator for queue: ${queue}`, {
        hint: `Export validate(message) from ${file}.`,
      })
  const bus = await connect()
  for (const { queue, validate } of modules) {
    let checked = 0
    let invalid = 0
    for await (const message of readyMessages(bus.queue(queue))) {
      checked++
      try {
        await validate?.(message)
      } catch (error) {
        invalid++
        const why = describeError(error).message
        out.line(
          out.json
            ? toText({ event: 'invalid', queue, id: message.id, error: why })
            : `${queue} ${message.id} is invalid: ${printable(why)}`,
        )
      }
    }
    out.result(
      { event: 'summary', queue, checked, invalid },
      () => `${queue}: ${count(checked, 'message')} checked, ${invalid} invalid`,
    )
    if (invalid > 0) process.exitCode = 1
  }
}

async function* readyMessages(queue: Queue) {
  for (let after: string | undefined; ; ) {
    const page = await queue.peek({ place: 'ready', limit: pageSize, after })
    yield* page
    if (page.length < pageSize) return
    after = page.at(-1)?.id
  }
}
