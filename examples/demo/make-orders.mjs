// Writes orders.jsonl, the messages of the demo: node examples/demo/make-orders.mjs [another file]
// The same file every time: its chance is a generator with a fixed seed.
//
// A line is { queue, data } and options of `send`. `fate` is not sent; it says what the proof expects of the message,
// where that is not 'handled'.
import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

let state = 2026
/** From 0 to 1 (mulberry32). */
function chance() {
  state = (state + 0x6d2b79f5) | 0
  let mixed = Math.imul(state ^ (state >>> 15), state | 1)
  mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
  return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
}
const whole = (from, to) => from + Math.floor(chance() * (to - from + 1))
const oneOf = (list) => list[whole(0, list.length - 1)]

const firstNames = [
  'Ada',
  'Zoë',
  'Łukasz',
  'Grace',
  'Thị Mai',
  'Alan',
  'Noor',
  'Edsger',
  'Chiamaka',
  'Radia',
  'José',
  '美咲',
]
const lastNames = [
  'Lovelace',
  'Nguyễn',
  'Kowalski',
  'Hopper',
  'Okafor',
  'Turing',
  'Haddad',
  "O'Neill",
  'Perlman',
  '田中',
]
const cities = ['Lisboa', 'Kraków', 'Malmö', 'Göteborg', 'Nice', 'Cork', 'Brno', 'Tartu']
const goods = [
  ['LAMP-01', 2490],
  ['DESK-07', 31900],
  ['CHAIR-12', 14950],
  ['SHELF-03', 8900],
  ['RUG-22', 5475],
  ['CLOCK-05', 3999],
]
const carriers = ['DHL', 'PostNord', 'InPost', 'An Post']
const banks = ['Nordbank', 'Banco Sol', 'Credit Hill', 'Tatra']
const departments = ['Engineering', 'Sales', 'Support', 'Finance', 'Legal']
const person = () => `${oneOf(firstNames)} ${oneOf(lastNames)}`

/** Three messages an order, which have to be handled in their order: its number is their ordering key. */
function orders(count) {
  return Array.from({ length: count }, (_, index) => {
    const order = `2026-${10_000 + index}`
    const items = Array.from({ length: whole(1, 3) }, () => {
      const [sku, price] = oneOf(goods)
      return { sku, price, quantity: whole(1, 4) }
    })
    const total = items.reduce((sum, { price, quantity }) => sum + price * quantity, 0)
    const line = (data) => ({ queue: 'orders', data: { order, ...data }, orderingKey: order })
    const placed = line({ step: 'placed', customer: person(), city: oneOf(cities), items, total })
    // What another program got wrong: the schema of the workers refuses it.
    const broken = index % 150 === 75
    return [
      broken
        ? { ...placed, data: { ...placed.data, items: `${items.length} × ${items[0].sku}` }, fate: 'dead letter' }
        : placed,
      line({ step: 'paid', total }),
      line({ step: 'shipped', carrier: oneOf(carriers) }),
    ]
  })
}

/** Some are urgent, some can wait, and for some there is no exchange rate: their handler fails every time. */
function invoices(count) {
  return Array.from({ length: count }, (_, index) => {
    const hopeless = index % 140 === 70
    const priority = index % 15 === 7 ? 10 : index % 20 === 3 ? -10 : undefined
    const data = {
      invoice: `R-${String(index + 1).padStart(5, '0')}`,
      to: person(),
      total: whole(500, 90_000),
      currency: hopeless ? 'XAU' : oneOf(['EUR', 'EUR', 'PLN', 'SEK']),
      bank: oneOf(banks),
    }
    return { queue: 'invoices', data, priority, fate: hopeless ? 'dead letter' : undefined }
  })
}

/** Some are to wait some hundred milliseconds, some take long, some are broken, and some were sent twice. */
function hires(count, twice) {
  const all = Array.from({ length: count }, (_, index) => {
    const email = `hire${index + 1}@example.com`
    const data = {
      name: person(),
      email,
      department: index % 120 === 20 ? 'Security' : oneOf(departments),
      starts: `2026-${String(whole(1, 12)).padStart(2, '0')}-01`,
    }
    const delay = index % 3 === 0 ? `${whole(1, 9)}00ms` : undefined
    const line = {
      queue: 'hires',
      data,
      delay,
      dedupId: email,
      meta: { targetId: `person-${index + 1}`, version: '2' },
    }
    if (index % 70 === 35) return { ...line, data: { ...data, starts: 'next Monday' }, fate: 'dead letter' }
    return line
  })
  const again = Array.from({ length: twice }, (_, index) => all[index * 20 + 7])
  return [...all, ...again]
}

/** Mixes the queues, but leaves each list in its order. */
function mix(...lists) {
  const mixed = []
  while (lists.some((list) => list.length > 0)) {
    const left = lists.filter((list) => list.length > 0)
    mixed.push(oneOf(left.flatMap((list) => Array(Math.ceil(list.length / 50)).fill(list))).shift())
  }
  return mixed
}

/** The events of some orders at a time take turns. */
function interleave(all) {
  const lines = []
  for (let start = 0; start < all.length; start += 12) lines.push(...mix(...all.slice(start, start + 12)))
  return lines
}

const lines = mix(interleave(orders(600)), invoices(850), hires(350, 14))
const file = process.argv[2] ?? fileURLToPath(new URL('orders.jsonl', import.meta.url))
writeFileSync(file, lines.map((line) => `${JSON.stringify(line)}\n`).join(''))
console.log(`${lines.length} lines in ${file}`)
