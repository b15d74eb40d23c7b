import { execFile } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { Option } from 'tidings/internal/core/options'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { calls } from '../scripts/calls.mjs'
import { typeOf } from '../scripts/option-types.mjs'
import { LanguageServer } from './support/language-server.ts'

const root = fileURLToPath(new URL('..', import.meta.url))
const folder = join(root, '.cache', `editor-test-${process.pid}`)

/** Where a user types the options of each call: at the dollar sign. */
const typed: Readonly<Record<string, string>> = {
  'connect(source?, options?)': "connect('memory:', {$})",
  'connect(url, { tls })': "connect('memory:', { tls: {$} })",
  'connect(url, { pool })': "connect('memory:', { pool: {$} })",
  'connect(url, { telemetry })': "connect('memory:', { telemetry: {$} })",
  'bus.queue(name, options?)': "bus.queue('a', {$})",
  'queue.send(data, options?)': 'queue.send(1, {$})',
  'queue.sendBatch(entries, options?)': 'queue.sendBatch([], {$})',
  'bus.publish(routingKey, data, options?)': "bus.publish('a', 1, {$})",
  'bus.publishBatch(routingKey, entries, options?)': "bus.publishBatch('a', [], {$})",
  'queue.read(options?)': 'queue.read({$})',
  'queue.readById(id, options?)': "queue.readById('1', {$})",
  'queue.pop(options?)': 'queue.pop({$})',
  'queue.peek(options?)': 'queue.peek({$})',
  'queue.work(handler, options?)': 'queue.work(() => {}, {$})',
  'queue.workBatch(handler, options?)': 'queue.workBatch(() => {}, {$})',
  'queue.consume(options?)': 'queue.consume({$})',
  'worker.stop(options?)': 'queue.work(() => {}).stop({$})',
  'message.release(options?)': 'message.release({$})',
  'retry(options?)': 'retry({$})',
  'exponential(options?)': 'exponential({$})',
  'linear(options?)': 'linear({$})',
  'queue.deadLetters.list(options?)': 'queue.deadLetters.list({$})',
  'queue.deadLetters.redrive(options?)': 'queue.deadLetters.redrive({$})',
  'queue.replay(options?)': 'queue.replay({$})',
  'bus.queues(options?) and bus.stats(options?)': 'bus.queues({$})',
  'queue.history(options?) and bus.history(options?)': 'queue.history({$})',
  'bus.trace(targetId, options?)': "bus.trace('a', {$})",
  'bus.topic(name, options?)': "bus.topic('a', {$})",
  'retention of a topic': "bus.topic('a', { retention: {$} })",
  'topic.publish(data, options?)': 'topic.publish(1, {$})',
  'topic.publishBatch(entries, options?)': 'topic.publishBatch([], {$})',
  'topic.subscribe(subscription, handler, options?)': "topic.subscribe('a', () => {}, {$})",
  'topic.consume(subscription, options?)': "topic.consume('a', {$})",
  'topic.read(options?)': 'topic.read({$})',
  'topic.seek(position, options?)': 'topic.seek(0, {$})',
  'subscription.create(options?)': "topic.subscription('a').create({$})",
  'subscription.fetch(options?)': "topic.subscription('a').fetch({$})",
  'bus.events(options?)': 'bus.events({$})',
  'bus.sentinel(options?)': 'bus.sentinel({$})',
  'bus.sentinel({ rules: [rule] })': 'bus.sentinel({ rules: [{$}] })',
  'bus.sentinel({ archives: [archive] })': 'bus.sentinel({ archives: [{$}] })',
  'bus.sentinel({ expire: [rule] })': 'bus.sentinel({ expire: [{$}] })',
  'bus.sentinel({ webhook })': 'bus.sentinel({ webhook: {$} })',
  'eventsMigration(options?)': 'eventsMigration({$})',
  'routes(table, options?)': 'routes({}, {$})',
  'versions(options)': 'versions({$})',
  'Pgmq.new(source, options?)': "Pgmq.new('postgres://a', {$})",
  'Pgmq.new({ host, … })': 'Pgmq.new({$})',
  'pgmq.queue.createPartitioned(name, options?)': "pgmq.queue.createPartitioned('a', {$})",
  'pgmq.msg.read(queue, vt?, options?)': "pgmq.msg.read('a', 1, {$})",
  'pgmq.msg.readWithPoll(queue, vt, numMessages, options?)': "pgmq.msg.readWithPoll('a', 1, 1, {$})",
  'pgmq.msg.readGroupedWithPoll(queue, vt, numMessages, options?)': "pgmq.msg.readGroupedWithPoll('a', 1, 1, {$})",
  'createServer(bus, options?)': 'createServer(bus, {$})',
  'createServer(bus, { tokens: [token] })': 'createServer(bus, { tokens: [{$}] })',
}

/** What is typed behind the colon, where a type is inferred from it. */
const values: Readonly<Record<string, string>> = {
  schema: 'z.string()',
  serializer: 'bytes',
  handlers: '{ 1: () => {} }',
}

const head = `import { Bus, bytes, connect, eventsMigration, exponential, linear, Message, Queue, retry, routes, Topic, versions } from 'tidings'
import { Pgmq } from 'tidings/pgmq'
import { createServer } from 'tidings-server'
import { z } from 'zod'
declare const bus: Bus, queue: Queue<number>, topic: Topic<number>, pgmq: Pgmq, message: Message<number>
`

interface Place {
  readonly title: string
  readonly option: Option<unknown, unknown>
  readonly line: number
  readonly character: number
}

const places: Place[] = []
const lines = head.split('\n')
for (const [call, schema] of calls)
  for (const [name, option] of Object.entries(schema)) {
    const [before, after] = (typed[call] ?? '').split('$')
    places.push({ title: `${call} ${name}`, option, line: lines.length, character: `${before} `.length })
    lines.push(`${before} ${name}: ${name in values ? values[name] : 'undefined!'} ${after}`)
  }

beforeAll(() => {
  mkdirSync(folder, { recursive: true })
  const compilerOptions = {
    ...{ strict: true, module: 'nodenext', target: 'es2022', lib: ['esnext'], types: ['node'] },
    ...{ noEmit: true, skipLibCheck: true },
  }
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, include: ['proof.ts'] }))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

describe('where the options of a call are typed, an editor shows', () => {
  const path = join(folder, 'typed.ts')
  let server: LanguageServer

  beforeAll(async () => {
    server = await LanguageServer.start(folder)
    server.open(path, lines.join('\n'))
  })
  afterAll(() => server.stop())

  test('what every option means, its type and bounds, and its default', async () => {
    expect(calls.map(([call]) => call).filter((call) => !typed[call])).toEqual([])
    expect(places.length).toBeGreaterThan(200)
    const silent: string[] = []
    for (const { title, option, line, character } of places) {
      const shown = await server.hover(path, line, character)
      const bounds = typeOf(option)
      const facts = `${bounds[0]?.toUpperCase()}${bounds.slice(1)}`
      const last = option.required ? 'Required.' : `Default: ${option.defaultText}.`
      if (![option.doc, facts, last].every((part) => shown.includes(part))) silent.push(`${title}: ${shown}`)
    }
    expect(silent).toEqual([])
  })

  test('options by the name of their type', async () => {
    const line = lines.findIndex((one) => one.startsWith('queue.send('))
    expect(await server.hover(path, line, 'queue.'.length)).toContain('send(data: number, options?: SendOptions)')
    const made = lines.findIndex((one) => one.startsWith('bus.queue('))
    expect(await server.hover(path, made, 'bus.'.length)).toMatch(/options: QueueOptionsWithSchema<[\w.]+>/)
  })
})

test('the declared types are those of the schemas that check the options', async () => {
  const sources = ['tidings', 'local', 'server', 'testkit', 'cli'].flatMap((name) => {
    const source = join(root, 'packages', name, 'src')
    return readdirSync(source, { recursive: true, encoding: 'utf8' }).flatMap((file) => {
      if (!file.endsWith('.ts')) return []
      const aliases = readFileSync(join(source, file), 'utf8').matchAll(
        /^export type (\w+) = option\.OptionsInput<typeof (\w+)>$/gm,
      )
      return [...aliases].map(([, type, schema]) => ({
        type,
        schema,
        file: relative(folder, join(root, 'packages', name, 'dist', file)).replace(/ts$/, 'js'),
      }))
    })
  })
  expect(sources.length).toBeGreaterThan(40)
  const proofs = sources.map(
    (
      { type, schema, file },
      index,
    ) => `import type { ${type} as Type${index}, ${schema} as schema${index} } from '${file}'
export const proof${index}: Same<Type${index}, OptionsInput<typeof schema${index}>> = true`,
  )
  const same = `import type { OptionsInput } from 'tidings/internal/core/options'
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
`
  writeFileSync(join(folder, 'proof.ts'), same + proofs.join('\n'))
  const tsc = join(root, 'node_modules/.bin/tsc')
  const { stdout } = await promisify(execFile)(tsc, ['-p', folder]).catch((failed: { stdout: string }) => failed)
  expect(stdout).toBe('')
})
