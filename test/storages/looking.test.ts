import { bytes, type Serializer } from 'tidings'
import { describe, expect, test } from 'vitest'
import { newName } from '../support/engine.ts'
import { openBus, storages } from '../support/storages.ts'

/** Text in Latin-1, of letters only. */
const letters: Serializer<string> = {
  serialize: (text) => Buffer.from(text, 'latin1'),
  deserialize(stored) {
    const text = Buffer.from(stored).toString('latin1')
    if (!/^[a-z]+$/.test(text)) throw new Error('no letters')
    return text
  },
}

describe.each(storages)('who looks at messages on $name', (storage) => {
  test('sees their data as it was sent, and bytes that the serializer refuses', async () => {
    const bus = await openBus(await storage.url())
    const name = newName('looking')
    const queue = bus.queue(name, { serializer: letters })
    await queue.send('failing')
    await (await queue.read())[0]?.deadLetter('no')
    await queue.send('waiting', { meta: { targetId: 'a' } })
    await bus.queue(name, { serializer: bytes }).send(new Uint8Array([1]))
    expect((await queue.deadLetters.list()).map(({ data }) => data)).toEqual(['failing'])
    expect((await queue.peek()).map(({ data }) => data)).toEqual(['waiting', new Uint8Array([1])])
    expect((await queue.peek({ meta: { targetId: 'a' } })).map(({ data }) => data)).toEqual(['waiting'])
    await bus.close()
  })
})
