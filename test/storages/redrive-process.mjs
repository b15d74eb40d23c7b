// A process that redrives dead letters by a rate. Arguments: the URL and the queue that they came from.
import { connect } from 'tidings'

const [, , url, queue] = process.argv
const bus = await connect(url)
process.stdout.write('{"type":"running"}\n')
const { length: count } = await bus.queue(queue).deadLetters.redrive({ rate: 1_000, delay: '1h' })
process.stdout.write(`${JSON.stringify({ type: 'redriven', count })}\n`)
await bus.close()
