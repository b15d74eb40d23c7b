// A server and two of its clients, which may do different things: node examples/over-http.mjs
import { createHash, randomBytes } from 'node:crypto'
import { connect, isTidingsError } from 'tidings'
import { createServer } from 'tidings-server'

// On the machine that reaches the storage. The command line does the same: tidings token create, tidings serve.
const storage = await connect('memory:')
await storage.queue('orders').create()
await storage.queue('payroll').create()

const newToken = () => randomBytes(32).toString('base64url')
const shop = newToken()
const kitchen = newToken()
const hashOf = (token) => `sha256:${createHash('sha256').update(token).digest('hex')}`
const server = createServer(storage, {
  port: 0,
  tokens: [
    { name: 'shop', hash: hashOf(shop), scopes: ['send'], queues: ['orders'] },
    { name: 'kitchen', hash: hashOf(kitchen), scopes: ['receive', 'send'], queues: ['orders*'] },
  ],
})
await server.start()

// On any other machine: the same API.
const sender = await connect(server.url, { token: shop })
await sender.queue('orders', { create: false }).send({ dish: 'soup' })

const receiver = await connect(server.url, { token: kitchen })
const worker = receiver.queue('orders', { create: false }).work(({ data }) => console.log(`cooking ${data.dish}`))
await worker.drain()

for (const [what, attempt] of [
  ['the shop reads', () => sender.queue('orders', { create: false }).read()],
  ['the shop sends to a queue that is not its own', () => sender.queue('payroll', { create: false }).send({})],
  ['a stranger comes', () => connect(server.url, { token: newToken() })],
])
  await attempt().catch((error) => {
    if (!isTidingsError(error)) throw error
    console.log(`${what}: ${error.code}`)
  })

// Another language needs no client: one request sends a message.
const answer = await fetch(`${server.url}/v1/queues/orders/messages`, {
  method: 'POST',
  headers: { authorization: `Bearer ${shop}`, 'content-type': 'application/json' },
  body: JSON.stringify({ message: { dish: 'salad' } }),
})
console.log('over HTTP alone:', answer.status, await answer.json())

await sender.close()
await receiver.close()
await server.stop()
await storage.close()

// Prints:
// cooking soup
// the shop reads: FORBIDDEN
// the shop sends to a queue that is not its own: QUEUE_NOT_FOUND
// a stranger comes: UNAUTHORIZED
// over HTTP alone: 201 { msg_id: 2, id: '2', duplicate: false }
