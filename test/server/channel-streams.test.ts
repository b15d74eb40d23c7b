import type { Bus } from 'tidings'
import type { Subscriber } from 'tidings/internal/port/wakeups'
import { StreamLimit } from 'tidings-server/internal/http/stream-limit'
import { streamChannels } from 'tidings-server/internal/streams/channel-streams'
import { expect, test } from 'vitest'

test('a connection that is lost after the client has gone ends nothing but the stream', async () => {
  let subscriber: Subscriber | undefined
  const bus = {
    stored: { storage: { name: 'test', supports: new Set(['events']) } },
    wakeups: {
      installed: true,
      prefix: 'q',
      async subscribe(one: Subscriber) {
        subscriber = one
        return { close() {} }
      },
    },
  } as unknown as Bus
  const unhandled: unknown[] = []
  const note = (reason: unknown) => void unhandled.push(reason)
  process.on('unhandledRejection', note)
  const client = new AbortController()
  const reply = await streamChannels(
    { bus, streamLimit: new StreamLimit(1), channels: ['q'], signal: client.signal },
    async () => {},
  )
  client.abort()
  subscriber!.interrupted?.(new Error('the connection was lost'))
  await (reply as { run(events: unknown): Promise<void> }).run({ send: async () => true })
  // What is not handled is told after the turn.
  await new Promise((resolve) => setImmediate(resolve))
  process.off('unhandledRejection', note)
  expect(unhandled).toEqual([])
})
