// Loaded before an actor: a worker deletes its messages, and then calls the handler.
import { Process } from '../../../packages/tidings/dist/worker/process.js'

const { run } = Process.prototype

Process.prototype.run = async function (deliveries) {
  await Promise.all(deliveries.map((delivery) => delivery.settle({ kind: 'delete' })))
  return run.call(this, deliveries)
}
