// A queue that grows too long, and a receiver of alerts that believes only what is signed: node examples/alerts.mjs
import { createHmac, timingSafeEqual } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { text } from 'node:stream/consumers'
import { connect } from 'tidings'

const secret = 'known to the sender and the receiver'

/** The header is `t=<seconds>,v1=<code>`. The time is part of what is signed, so that old alerts cannot be sent again. */
function isGenuine(header, body) {
  const [, time, code] = /^t=(\d+),v1=([0-9a-f]{64})$/.exec(header) ?? []
  if (code === undefined || Math.abs(Date.now() / 1_000 - Number(time)) > 300) return false
  const expected = createHmac('sha256', secret).update(`${time}.${body}`).digest()
  return timingSafeEqual(Buffer.from(code, 'hex'), expected)
}

const receiver = createServer(async (request, response) => {
  const body = await text(request)
  const genuine = isGenuine(request.headers['x-tidings-signature'] ?? '', body)
  response.writeHead(genuine ? 204 : 401).end()
  if (!genuine) return console.log('refused: not signed by us')
  for (const { state, message } of JSON.parse(body).alerts) {
    console.log(`${state}: ${message}`)
    receiver.emit(state)
  }
})
receiver.listen(0, '127.0.0.1')
await once(receiver, 'listening')
const url = `http://127.0.0.1:${receiver.address().port}/`

const bus = await connect('memory:')
const hires = bus.queue('hires')
await hires.sendBatch([{ data: 'Ada' }, { data: 'Grace' }, { data: 'Radia' }])

// A sentinel usually runs by itself: tidings sentinel, with the same settings in tidings.config.mjs.
const sentinel = bus.sentinel({
  every: '100ms',
  resolveAfter: '100ms',
  rules: [{ queues: 'hires', maxReady: 2, maxOldestReady: '5m', maxDead: 0 }],
  webhook: { url, secret, allowPrivate: true }, // Without allowPrivate only public addresses are called.
})
const raised = once(receiver, 'raised')
await sentinel.start()
await raised

const resolved = once(receiver, 'resolved')
await hires.work(() => {}).drain()
await resolved

await fetch(url, { method: 'POST', body: '{"alerts":[{"state":"raised","message":"a lie"}]}' })
await bus.close() // Stops the sentinel, too.
receiver.close()

// Prints:
// raised: hires has 3 ready messages; at most 2
// resolved: hires is within maxReady (2) again
// refused: not signed by us
