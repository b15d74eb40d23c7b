// Loaded before an actor: dead letters take two transactions. `?first=copy` or `?first=delete` says which comes first.
import { PostgresEngine } from '../../../packages/tidings/dist/engines/postgres/postgres.js'

const first = new URL(import.meta.url).searchParams.get('first')
const { claim, settle } = PostgresEngine.prototype
const claimed = new Map()
const targets = new Map()

PostgresEngine.prototype.claim = async function (queue, request) {
  if (!targets.has(queue)) targets.set(queue, this.createQueue(`${queue}_dlq`))
  await targets.get(queue)
  const answer = await claim.call(this, queue, request)
  for (const message of answer.messages) claimed.set(`${queue} ${message.id}`, message)
  return answer
}

PostgresEngine.prototype.settle = async function (queue, settlements, transaction) {
  const copy = async (moves) => {
    if (moves.length === 0) return
    const copies = moves.map(({ id, meta }) => {
      const message = claimed.get(`${queue} ${id}`)
      const sending = { delayMs: 0, notBefore: null, dedup: null, uniqueTarget: null, bare: false }
      return { ...message, ...sending, meta: { ...message.meta, ...meta } }
    })
    await this.send(moves[0].to, copies, null)
  }
  const moves = settlements.filter(({ kind }) => kind === 'move')
  const rest = settlements.map((one) => (one.kind === 'move' ? { ...one, kind: 'delete' } : one))
  if (first === 'copy') await copy(moves)
  const results = await settle.call(this, queue, rest, transaction)
  if (first === 'delete') await copy(moves.filter((move) => results[settlements.indexOf(move)].settled))
  return results
}
