// Which files of the library a send passes, once everything is warm: `node bench/files-of-a-send.mjs [url]`, memory: by default.
import { Session } from 'node:inspector/promises'
import { connect } from 'tidings'

const bus = await connect(process.argv[2] ?? 'memory:')
const queue = bus.queue('files-of-a-send')
const data = { name: 'Ada' }
await queue.send(data)

const session = new Session()
session.connect()
await session.post('Profiler.enable')
await session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: false })
await queue.send(data)
const { result } = await session.post('Profiler.takePreciseCoverage')
session.disconnect()

const passed = result
  .filter(({ url }) => url.includes('/packages/tidings/dist/'))
  .map(({ url, functions }) => ({
    file: url.split('/tidings/dist/')[1],
    called: functions.filter(({ ranges }) => ranges[0].count > 0).map(({ functionName }) => functionName || '(module)'),
  }))
  .filter(({ called }) => called.length > 0)
for (const { file, called } of passed) console.log(`${file.padEnd(32)} ${called.join(' ')}`)
console.log(`${passed.length} files`)
await queue.drop()
await bus.close()
