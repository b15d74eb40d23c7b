// Handles the queue `invoices`: calls a web service that is not always there.
//
//   npx tidings enqueue invoices '{"number":"2026-17","total":120}' --target-id 2026-17
//   npx tidings process --handlers examples/handlers --queue invoices

/** Options of the worker: a few at a time, and more patience than usual. Flags of the command go before them. */
export const options = { concurrency: 4, maxAttempts: 8, backoff: '10s' }

/**
 * @param {import('tidings').Message<{ number: string, total: number }>} message
 * @param {{ attempt: number, signal: AbortSignal }} context `signal` is aborted when the work no longer counts
 */
export async function handle(message, { attempt, signal }) {
  const { ACCOUNTING_URL } = process.env
  const { number, total } = message.data
  if (!ACCOUNTING_URL) return console.log(`invoice ${number} over ${total} (attempt ${attempt}): set ACCOUNTING_URL`)

  const response = await fetch(ACCOUNTING_URL, {
    method: 'POST',
    // The same message may come twice; the other side can tell by this.
    headers: { 'content-type': 'application/json', 'idempotency-key': `invoice-${message.id}` },
    body: JSON.stringify({ number, total }),
    signal: AbortSignal.any([signal, AbortSignal.timeout(10_000)]),
  })
  if (!response.ok) throw new Error(`accounting answered ${response.status}`)
}
