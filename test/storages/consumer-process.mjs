// A process with consumers, which prints what happens, one JSON document a line. Argument, as JSON: the URL and the
// consumers, see test/support/consumers.ts, where the lines are described, too.
import { writeSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { connect } from 'tidings'

const { url, hangsAfter, consumers } = JSON.parse(process.argv[2])

/** Written at once: what was told is known, also if this process is killed in the next moment. */
const tell = (line) => writeSync(1, `${JSON.stringify({ ...line, at: Date.now() })}\n`)

const released = new Promise((resolve) => process.once('SIGUSR2', resolve))
/** Stops the event loop, as a long computation would, without taking the processor from other tests. */
const block = (ms) => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms)
let calls = 0

async function handle({ id, offset, data, meta, redelivered }, { attempt, topic }) {
  const { number, takesMs = 0, blocksMs, kills, failures = 0 } = data
  const isToHang = ++calls > hangsAfter
  const from = topic ? 'topic' : 'queue'
  const lost = meta.processLostAt === undefined ? {} : { lost: true }
  tell({ type: 'begun', from, number, id: id ?? offset, attempt, redelivered, ...lost })
  if (kills) process.kill(process.pid, 'SIGKILL')
  if (blocksMs) block(blocksMs)
  await delay(takesMs)
  if (isToHang) {
    tell({ type: 'hanging', from, number })
    await released
  }
  if (attempt <= failures) throw new Error(`fails ${failures} times`)
  tell({ type: 'ended', from, number })
}

/** A machine that is busy with other processes may be silent for longer than one attempt waits. */
async function connected(attempts) {
  try {
    return await connect(url)
  } catch (error) {
    if (!error.retryable || attempts === 1) throw error
    return connected(attempts - 1)
  }
}

const idOf = (message) => message.id ?? message.offset
/** Not those of each call and claim, which would be most lines: handlers tell when they begin. */
const observe = ({ message, messages, error, ...event }) =>
  ['started', 'claimed', 'idle'].includes(event.type) ||
  tell({
    ...event,
    ...(message ? { id: idOf(message) } : {}),
    ...(messages ? { ids: messages.map(idOf) } : {}),
    ...(error ? { code: error.code, error: error.message } : {}),
  })

const bus = await connected(5)
const running = consumers.map(({ queue, topic, options }) => {
  const all = { observe, ...options }
  return queue
    ? bus.queue(queue).work(handle, { backoff: 20, ...all })
    : bus.topic(topic).subscribe('all', handle, { from: 'earliest', ...all })
})

process.once('SIGTERM', async () => {
  await Promise.all(running.map((consumer) => consumer.stop()))
  for (const consumer of running) tell({ type: 'stats', ...consumer.stats() })
  await bus.close()
})
tell({ type: 'running' })
