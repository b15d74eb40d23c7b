import type { EventSink } from '../http/route.ts'

/** A client that hears nothing for much longer may take the connection for dead. */
const commentMs = 2_000
/** How many events may wait for a client that reads slowly. */
const maxWaiting = 16
const lineBreak = /\r\n|\r|\n/g

/**
 * A body of server-sent events. It ends when `run` does; what `run` throws is its last event.
 * @param asEvent what an error looks like to the client
 * @param connection of the reader; once its signal is aborted, what `run` sends goes nowhere
 */
export function eventStream(
  run: (events: EventSink) => Promise<void>,
  asEvent: (error: unknown) => unknown,
  connection: { readonly signal: AbortSignal; leave(): void },
): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder()
  let gone = false
  let goOn = () => {}
  let comments: NodeJS.Timeout
  return new ReadableStream<Uint8Array>(
    {
      start(controller) {
        const write = (text: string) => {
          if (!gone) controller.enqueue(encoder.encode(text))
        }
        const isFull = () => (controller.desiredSize ?? 0) <= 0
        const sink: EventSink = {
          async send(event, data) {
            if (connection.signal.aborted) return false
            const text = typeof data === 'string' ? data : JSON.stringify(data)
            write(`event: ${event}\ndata: ${text.replaceAll(lineBreak, '\ndata: ')}\n\n`)
            while (!connection.signal.aborted && isFull())
              await new Promise<void>((resolve) => {
                goOn = resolve
              })
            return !connection.signal.aborted
          },
        }
        connection.signal.addEventListener('abort', () => goOn(), { once: true })
        comments = setInterval(() => {
          if (!isFull()) write(':\n\n')
        }, commentMs)
        void run(sink)
          .catch((error: unknown) => write(`event: error\ndata: ${JSON.stringify(asEvent(error))}\n\n`))
          .finally(() => {
            clearInterval(comments)
            if (!gone) controller.close()
          })
      },
      pull() {
        goOn()
      },
      cancel() {
        gone = true
        clearInterval(comments)
        connection.leave()
      },
    },
    { highWaterMark: maxWaiting },
  )
}
