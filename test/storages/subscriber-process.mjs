// A process with a subscriber, which prints what happens, one JSON document a line. Arguments: URL, topic, subscription, its lease.
import { connect } from '../../dist/index.js'

const [url, topic, subscription, lease] = process.argv.slice(2)
const bus = await connect(url)
const tell = (line) => process.stdout.write(`${JSON.stringify(line)}\n`)
const subscriber = bus.topic(topic).subscribe(
  subscription,
  async ({ offset, data, redelivered }) => {
    tell({ type: 'handled', offset, redelivered })
    if (data === 'hang') await new Promise(() => {})
  },
  { from: 'earliest', lease, observe: ({ type, offset }) => tell({ type, offset }) },
)
process.on('SIGTERM', () => subscriber.stop().then(() => bus.close()))
