// Handles the queue `hires`:
//
//   npx tidings enqueue hires '{"name":"Ada"}'
//   npx tidings process --handlers examples/handlers --once
import type { Message } from 'tidings'

interface Hire {
  name: string
  email?: string
}

/** A message that this throws on becomes a dead letter; `handle` never sees it. */
export function validate(message: Message<Hire>): void {
  if (typeof message.data?.name !== 'string' || message.data.name === '') throw new Error('name is missing')
}

/** Whatever this throws, the message is tried again later, and becomes a dead letter after the last attempt. */
export async function handle(message: Message<Hire>): Promise<void> {
  const { name, email = `${name.toLowerCase().replaceAll(' ', '.')}@example.com` } = message.data
  console.log(`welcome, ${name}: ${email} is ready`)
}
