// node bench/dashboard.mjs [--engine postgres] [--messages 1000000] [--queues 1000] [--rounds 9]
// How soon a person sees a page of the dashboard, from its address to its data, and what the calls behind it take; in
// Debian's chromium, with one queue of many messages among many queues. Run it after npm run build.
import { once } from 'node:events'
import { createServer } from 'node:http'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { connect } from 'tidings'
import { dashboard } from 'tidings-server'
import { runnerImport } from 'vite'
import { median, printTable } from './measure.mjs'
import { storages } from './storages.mjs'

const { values } = parseArgs({
  options: {
    engine: { type: 'string', default: 'postgres' },
    fsync: { type: 'string', default: 'everysec' },
    messages: { type: 'string', default: '1000000' },
    queues: { type: 'string', default: '1000' },
    rounds: { type: 'string', default: '9' },
  },
})

/** What a look takes of which nothing is ours: the browser makes a window and draws a document. */
const empty = '/empty'

const views = {
  overview: '',
  queue: 'queues/large',
  messages: 'queues/large/messages',
  'in hand': 'queues/large/messages?state=leased',
  'dead letters': 'queues/large/dead-letters',
}

/** One message in each queue, and the rest in one. */
async function fill(bus) {
  const names = Array.from({ length: Number(values.queues) - 1 }, (_, index) => `queue_${index}`)
  await inTurns(names, 1, async ([name]) => {
    await bus.queue(name).create()
    await bus.queue(name).send({ hello: name })
  })
  const large = bus.queue('large')
  await large.create()
  const numbers = Array.from({ length: Number(values.messages) - names.length }, (_, index) => index)
  await inTurns(numbers, 5_000, (part) =>
    large.sendBatch(part.map((order) => ({ data: { order, name: 'Ada Lovelace', email: 'ada@example.org' } }))),
  )
}

async function inTurns(items, size, work) {
  let next = 0
  const take = async () => {
    while (next < items.length) {
      const from = next
      next += size
      await work(items.slice(from, from + size))
    }
  }
  await Promise.all(Array.from({ length: 4 }, take))
}

/** In a window of its own, with nothing in its cache. @returns the time, and that of each call by its path */
async function firstView(browser, url) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 } })
  try {
    const page = await context.newPage()
    const calls = []
    page.on('requestfinished', (request) => {
      const path = new URL(request.url()).pathname
      if (path.includes('/api/')) calls.push([path.replace(/.*\/api/, ''), request.timing().responseEnd])
    })
    const startedAt = performance.now()
    await page.goto(url)
    await page.waitForSelector('main[data-loaded]')
    return { ms: performance.now() - startedAt, calls: [...calls] }
  } finally {
    await context.close()
  }
}

const { module } = await runnerImport(fileURLToPath(new URL('../test/support/chromium.ts', import.meta.url)), {
  configFile: false,
})
const server = await storages[values.engine].start({ fsync: values.fsync })
const bus = await connect(server.url)
const shown = dashboard(bus)
const http = createServer((request, response) =>
  request.url === empty
    ? response.setHeader('content-type', 'text/html').end('<main data-loaded>empty</main>')
    : shown.node(request, response),
)
const browser = await module.launchChromium()
try {
  console.error(`${values.queues} queues, ${values.messages} messages on ${values.engine} …`)
  await fill(bus)
  await once(http.listen(0, '127.0.0.1'), 'listening')
  const rows = [['view or call', 'first', 'median of the rest', 'longest']]
  const paths = Object.entries(views).map(([name, view]) => [name, `/#/${view}`])
  for (const [name, path] of [['an empty document', empty], ...paths]) {
    const looks = []
    for (let round = 0; round <= Number(values.rounds); round++)
      looks.push(await firstView(browser, `http://127.0.0.1:${http.address().port}${path}`))
    const add = (label, all) => {
      const [first, ...rest] = all
      rows.push([label, ...[first, median(rest), Math.max(...rest)].map((ms) => `${Math.round(ms)} ms`)])
    }
    add(
      name,
      looks.map(({ ms }) => ms),
    )
    const called = new Set(looks.flatMap(({ calls }) => calls.map(([call]) => call)))
    for (const call of called) {
      const times = looks.flatMap(({ calls }) => calls.filter(([one]) => one === call).map(([, ms]) => ms))
      if (times.length > 1) add(`  ${call}`, times)
    }
  }
  printTable(rows)
} finally {
  await browser.close()
  http.closeAllConnections()
  http.close()
  await shown.stop()
  await bus.close()
  await server.stop()
}
