// A process that sends what schedules ask for. Arguments: the URL, a queue to work on, and by how many milliseconds its own
// clock is wrong.
const [, , url, queue, wrong] = process.argv
const RealDate = Date
globalThis.Date = class extends RealDate {
  constructor(...args) {
    super(...(args.length > 0 ? args : [RealDate.now() + Number(wrong)]))
  }
  static now = () => RealDate.now() + Number(wrong)
}
const { connect } = await import('tidings')
const bus = await connect(url)
bus.queue(queue).work(() => {})
process.stdout.write('{"type":"running"}\n')
