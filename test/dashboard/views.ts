import type { Bus } from 'tidings'

/** Every page: what `data-page` of it is, and where it lies. */
export async function viewsOf(bus: Bus): Promise<readonly (readonly [name: string, path: string])[]> {
  const [message] = await bus.queue('orders').peek({ limit: 1 })
  const [letter] = await bus.queue('emails').deadLetters.list({ limit: 1 })
  return [
    ['overview', ''],
    ['queue', 'queues/orders'],
    ['messages', 'queues/orders/messages'],
    ['message', `queues/orders/messages/${message!.id}`],
    ['failed-message', `queues/emails_dlq/messages/${letter!.id}`],
    ['dead-letters', 'queues/emails/dead-letters'],
    ['all-dead-letters', 'dead-letters'],
    ['schedules', 'schedules'],
    ['schedule', 'schedules/nightly'],
    ['topics', 'topics'],
    ['topic', 'topics/hired'],
    ['correlations', 'correlations'],
    ['correlation', 'correlations/hired-17'],
    ['processes', 'processes'],
    ['doctor', 'doctor'],
  ]
}
