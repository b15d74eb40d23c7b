// What many clients cost that only wait: node bench/idle-watchers.mjs [10000], after `npm run build`. Each watches one
// queue of a `tidings serve` over HTTP. Printed are the memory of the server, how quickly somebody else's watch is woken
// meanwhile, and how long it takes to wake all. Needs as many file descriptors: ulimit -n.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { fileURLToPath } from 'node:url'

const count = Number(process.argv[2] ?? 10_000)
const rounds = 30

const cli = fileURLToPath(new URL('../packages/cli/dist/main.js', import.meta.url))
const args = ['serve', '--url', 'memory:', '--port', '0', '--max-connections', String(count + 100), '--json']
const server = spawn(process.execPath, [cli, ...args], { stdio: ['ignore', 'pipe', 'ignore'] })
const [line] = await once(server.stdout, 'data')
const { origin, port } = new URL(/http:\/\/[^"\s]+/.exec(String(line))[0])

const memory = () => {
  const [, kilobytes] = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${server.pid}/status`, 'utf8'))
  return `${Math.round(kilobytes / 1024)} MB`
}
const call = (method, path, body) =>
  fetch(`${origin}/v1/queues/${path}`, {
    method,
    ...(body ? { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } } : {}),
  })
const send = (queue) => call('POST', `${queue}/messages`, { message: 1 })

async function watch(queue) {
  const socket = connect(port, '127.0.0.1')
  socket.write(`GET /v1/queues/${queue}/watch HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n\r\n`)
  const [head] = await once(socket, 'data')
  if (!String(head).includes('200 OK')) throw new Error(String(head))
  return socket
}

/** Resolves with the next event that is no sign of life. */
async function woken(socket) {
  let text = ''
  while (!text.includes('data:')) text += String((await once(socket, 'data'))[0])
}

for (const queue of ['crowd', 'alone']) await call('PUT', queue)
console.log(`server by itself: ${memory()}`)
const crowd = []
while (crowd.length < count) crowd.push(...(await Promise.all(Array.from({ length: 100 }, () => watch('crowd')))))
console.log(`${crowd.length} watchers: ${memory()}`)

const alone = await watch('alone')
const times = []
for (let round = 0; round < rounds; round++) {
  const startedAt = performance.now()
  await Promise.all([woken(alone), send('alone')])
  times.push(performance.now() - startedAt)
}
times.sort((a, b) => a - b)
const ms = (time) => `${time.toFixed(1)} ms`
console.log(`send to wake-up of another watch: ${ms(times[rounds / 2])} (${ms(times[0])} to ${ms(times.at(-1))})`)

const startedAt = performance.now()
await Promise.all([...crowd.map(woken), send('crowd')])
console.log(`send to wake-up of all: ${ms(performance.now() - startedAt)}; ${memory()}`)

server.kill()
process.exit()
