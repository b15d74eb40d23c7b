// Sends what JSON cannot hold, as MessagePack: node examples/msgpack.mjs
import { decode, encode } from '@msgpack/msgpack'
import { connect } from 'tidings'

const bus = await connect('memory:')
const serializer = { serialize: encode, deserialize: decode }
const readings = bus.queue('readings', { serializer })

await readings.send({ sensor: 'T-1', at: new Date(0), raw: new Uint8Array([1, 2, 255]) })

const [message] = await readings.read()
console.log(message.data)

// Who looks without the serializer sees the bytes as base64.
const [stored] = await bus.queue('readings').peek()
console.log(`stored as ${stored.meta.dataEncoding}: ${stored.data.slice(0, 16)}…`)

await message.delete()
await bus.close()

// Prints:
// {
//   sensor: 'T-1',
//   at: 1970-01-01T00:00:00.000Z,
//   raw: Uint8Array(3) [ 1, 2, 255 ]
// }
// stored as base64: g6ZzZW5zb3KjVC0x…
