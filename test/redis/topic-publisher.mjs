// A process that publishes numbered messages, in batches. Arguments: URL, topic, name of the publisher, how many
// messages, how many at once.
import { connect } from 'tidings'

const [url, topic, name, total, size] = process.argv.slice(2)
const bus = await connect(url)
const news = bus.topic(topic)
for (let last = 0; last < Number(total); )
  await news.publishBatch(Array.from({ length: Number(size) }, () => ({ data: `${name}/${++last}` })))
await bus.close()
