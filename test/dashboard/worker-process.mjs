// A process with a worker. Arguments: the URL of the storage, the queue. Prints a line once it has handled a message.
import { connect } from 'tidings'

const [url, queue] = process.argv.slice(2)
const bus = await connect(url)
bus.queue(queue).work(() => process.stdout.write(`${JSON.stringify({ pid: process.pid })}\n`))
