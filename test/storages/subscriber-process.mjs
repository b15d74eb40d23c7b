// A process with a subscriber, which prints what happens, one JSON document a line. Arguments: URL, topic, subscription,
// options as JSON. The data 'hang' and 'kill' mean what they say.
import { connect } from 'tidings'

const [url, topic, subscription, options = '{}'] = process.argv.slice(2)
const bus = await connect(url)
const tell = (line) => process.stdout.write(`${JSON.stringify(line)}\n`)
const subscriber = bus.topic(topic).subscribe(
  subscription,
  async ({ offset, data, redelivered }, { attempt }) => {
    tell({ type: 'handled', offset, redelivered, attempt })
    if (data === 'hang') await new Promise(() => {})
    if (data === 'kill') process.kill(process.pid, 'SIGKILL')
  },
  { from: 'earliest', observe: ({ type, offset }) => tell({ type, offset }), ...JSON.parse(options) },
)
process.on('SIGTERM', () => subscriber.stop().then(() => bus.close()))
