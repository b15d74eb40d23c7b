import type { Bus, SendEntry } from 'tidings'

const customers = ['acme', 'globex', 'initech', 'umbrella']
const people = ['Ada Lovelace', 'Grace Hopper', 'Edsger Dijkstra', 'Barbara Liskov', 'Alan Turing']

/** What an application leaves in a storage within a day: nothing of it runs afterwards, so nothing of it changes. */
export async function fillShop(bus: Bus): Promise<void> {
  for (const name of ['orders', 'emails', 'invoices', 'laptops', 'badges', 'onboarded', 'reports'])
    await bus.queue(name).create()
  await Promise.all([fillOrders(bus), fillEmails(bus), fillInvoices(bus), fillTopic(bus), fillCorrelation(bus)])
  await fillSchedules(bus)
}

const order = (number: number, fields: Partial<SendEntry<unknown>> = {}): SendEntry<unknown> => ({
  data: {
    order: 1_000 + number,
    customer: { name: people[number % people.length], email: `person${number}@example.org` },
    items: [{ sku: `sku-${number % 7}`, count: 1 + (number % 3), price: 19.9 }],
  },
  group: customers[number % customers.length],
  headers: { traceparent: `00-${'a'.repeat(32)}-${String(number).padStart(16, 'b')}-01` },
  meta: { targetId: `order-${1_000 + number}`, sourceSystem: 'shop', actionType: 'order.placed' },
  ...fields,
})

/** 120 ready, 8 in hand, 12 delayed, 20 archived. */
async function fillOrders(bus: Bus): Promise<void> {
  const orders = bus.queue('orders')
  await orders.sendBatch(Array.from({ length: 28 }, (_, index) => order(index)))
  for (const message of await orders.read({ limit: 20, lease: '1h' })) await message.archive()
  await orders.read({ limit: 8, lease: '1h' })
  await orders.configure({
    limits: [{ concurrency: 20 }, { per: 'group', concurrency: 4, rate: '600/min' }],
    weights: { acme: 3 },
  })
  await orders.sendBatch(Array.from({ length: 120 }, (_, index) => order(28 + index, { priority: index % 3 })))
  await orders.sendBatch(Array.from({ length: 12 }, (_, index) => order(148 + index, { delay: `${1 + index}h` })))
}

/** 9 dead letters: 6 of one error, 3 of another; 5 ready, and 2 that failed once. */
async function fillEmails(bus: Bus): Promise<void> {
  const emails = bus.queue('emails')
  const to = (number: number) => ({ data: { to: `person${number}@example.org`, template: 'welcome' } })
  await emails.sendBatch(Array.from({ length: 9 }, (_, index) => to(index)))
  await emails
    .work(
      ({ data }) => {
        const { to: address } = data as { to: string }
        if (Number(/\d+/.exec(address)?.[0]) % 3 === 2) throw new TypeError('no template named welcome')
        throw new Error('connect ECONNREFUSED 10.0.0.5:25')
      },
      { maxAttempts: 1 },
    )
    .drain()
  await emails.sendBatch([9, 10].map(to))
  for (const message of await emails.read({ limit: 2 })) await message.release({ delay: '2h' })
  await emails.sendBatch([11, 12, 13, 14, 15].map(to))
}

async function fillInvoices(bus: Bus): Promise<void> {
  const invoices = bus.queue('invoices')
  await invoices.sendBatch(Array.from({ length: 3 }, (_, index) => ({ data: { invoice: index }, orderingKey: 'acme' })))
  await invoices.pause({ reason: 'the bank is closed', by: 'Grace' })
}

/** Ten messages; payroll has read all, badges none, audit four. */
async function fillTopic(bus: Bus): Promise<void> {
  const hired = bus.topic('hired', { retention: { maxAge: '30d' } })
  for (const subscription of ['payroll', 'access', 'audit'])
    await hired.subscription(subscription).create({ from: 'earliest' })
  for (let index = 0; index < 10; index++) await hired.publish({ name: people[index % people.length], number: index })
  await hired.subscribe('payroll', () => {}).drain()
  await hired.subscription('audit').ack(4)
}

/** A task each in accounts, badges and laptops, which sends another one to parcels: 2 done, 1 dead, 1 pending. */
async function fillCorrelation(bus: Bus): Promise<void> {
  for (const name of ['accounts', 'parcels']) await bus.queue(name).create()
  for (const team of ['accounts', 'badges', 'laptops']) await bus.bind('employee.hired', team)
  await bus.publish(
    'employee.hired',
    { name: 'Ada Lovelace' },
    { meta: { correlationId: 'hired-17', correlationQueue: 'onboarded', targetId: 'person-17' }, track: true },
  )
  await bus
    .queue('accounts')
    .work(() => {})
    .drain()
  await bus
    .queue('badges')
    .work(
      () => {
        throw new Error('no photograph of Ada')
      },
      { maxAttempts: 1 },
    )
    .drain()
  await bus
    .queue('laptops')
    .work(({ meta }) => bus.queue('parcels').send({ to: 'Ada' }, { meta, track: true }))
    .drain()
}

async function fillSchedules(bus: Bus): Promise<void> {
  const report = { queue: 'reports', data: { report: 'daily' } }
  await bus.schedule('nightly', { cron: '30 2 * * *', timezone: 'Europe/Berlin', ...report })
  await bus.schedule('weekly', { every: '7d', enabled: false, ...report })
}
