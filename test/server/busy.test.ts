import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { settlesWithin } from 'tidings/internal/core/awake'
import { Patience } from 'tidings/internal/engines/http/patience'
import { Silence } from 'tidings/internal/engines/http/silence'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Signal } from '../worker/support.ts'

/** What runs beside the event loop of the test: tells something on each connection, again and again. */
const talker = `
  const { createServer } = require('node:net')
  const { parentPort } = require('node:worker_threads')
  const server = createServer((socket) => {
    socket.on('error', () => {})
    const timer = setInterval(() => socket.write('.'), 100)
    socket.on('close', () => clearInterval(timer))
  }).listen(0, '127.0.0.1', () => parentPort.postMessage(server.address().port))
`
let worker: Worker
let port: number

beforeAll(async () => {
  worker = new Worker(talker, { eval: true })
  ;[port] = (await once(worker, 'message')) as [number]
})
afterAll(() => worker.terminate())

const block = (milliseconds: number) => void Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds)

async function listen(): Promise<Socket> {
  const socket = connect(port, '127.0.0.1')
  await once(socket, 'connect')
  return socket
}

/** Takes several turns of the event loop. */
async function ask(): Promise<void> {
  for (let time = 0; time < 3; time++) {
    const socket = await listen()
    await once(socket, 'data')
    socket.destroy()
  }
}

test('what takes shorter is settled in time, though the event loop is blocked for longer than that', async () => {
  for (const blockedMs of [900, 1_400]) {
    const settling = settlesWithin(ask(), 1_000)
    await delay(20)
    block(blockedMs)
    expect(await settling, `${blockedMs} ms`).toBe(true)
  }
  expect(await settlesWithin(new Promise(() => {}), 500)).toBe(false)
  expect(await settlesWithin(Promise.reject(new Error('no')), 500)).toBe(true)
})

test('a stream that tells something is not silent, however long the event loop is blocked', async () => {
  const socket = await listen()
  let isOver = false
  const patience = new Patience(400, () => {
    isOver = true
  })
  socket.on('data', () => patience.heard())
  for (const blockedMs of [450, 1_500, 600]) {
    block(blockedMs)
    await delay(50)
    expect(isOver, `after ${blockedMs} ms`).toBe(false)
  }
  socket.destroy()
  await delay(1_500)
  expect(isOver).toBe(true)
})

test('a server that answers is not silent for a process that was blocked while it asked', async () => {
  for (const blockedMs of [2_700]) {
    const asked = new Signal()
    let isFound = false
    const silence = new Silence(async () => {
      asked.resolve()
      await ask()
    })
    const watch = silence.watch(0, () => {
      isFound = true
    })
    await asked.promise
    await delay(20)
    block(blockedMs)
    await delay(1_000)
    watch.cancel()
    expect(isFound, `${blockedMs} ms`).toBe(false)
  }
})
