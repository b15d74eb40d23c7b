import assert from 'node:assert/strict'
import { describe, test } from 'vitest'
import { Tidings, tidings, useDatabase } from './support.ts'

let url: string
useDatabase((own) => {
  url = own
})

/** Runs a command that must succeed. @returns what it printed */
async function run(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await tidings([...args, '--url', url])
  assert.equal(code, 0, stderr)
  return stdout
}

const json = async (...args: string[]) => JSON.parse(await run(...args, '--json'))

async function refused(...args: string[]): Promise<{ code: number | null; error: { code: string; message: string } }> {
  const { code, stdout, stderr } = await tidings([...args, '--url', url, '--json'])
  assert.equal(stdout, '')
  return { code, error: JSON.parse(stderr) }
}

const lines = (text: string) => text.trimEnd().split('\n')

describe('topic', () => {
  test('create, list, info, publish, read, seek, subscriptions, drop', async () => {
    assert.equal(
      await run('topic', 'create', 'news', '--description', 'what happened', '--max-age', '7d'),
      'created topic news\n',
    )
    assert.deepEqual(await json('topic', 'create', 'news', '--when-read'), { topic: 'news', created: false })
    assert.match(await run('topic', 'list'), /^TOPIC +FIRST +LAST .*\nnews +1 +0 /)
    const info = await run('topic', 'info', 'news')
    assert.match(info, /^news {2}what happened\n/)
    assert.match(info, /kept +until all have read it\n/)

    assert.equal(
      await run('topic', 'publish', 'news', '{"name":"Ada"}', '--dedup-id', 'a'),
      'published offset 1 in news\n',
    )
    assert.match(await run('topic', 'publish', 'news', '{"name":"Ada"}', '--dedup-id', 'a'), /a duplicate of offset 1/)
    const piped = await tidings(['topic', 'publish', 'news', '-', '--url', url], { input: '{"name":"Grace"}' })
    assert.equal(piped.stdout, 'published offset 2 in news\n')

    assert.match(await run('topic', 'read', 'news'), /^1 {2}published \d+s ago\n {2}data \{"name":"Ada"\}\n2 /)
    const [second, ...none] = await json('topic', 'read', 'news', '--after', '1', '--limit', '5')
    assert.deepEqual([second.offset, second.data, none], [2, { name: 'Grace' }, []])

    assert.equal(await run('topic', 'subscriptions', 'news'), 'no subscriptions yet\n')
    await run('subscribe', 'news', '--name', 'payroll', '--wait', '0ms')
    assert.deepEqual(
      (await json('topic', 'subscriptions', 'news')).map((one: { cursor: number; lag: number }) => [
        one.cursor,
        one.lag,
      ]),
      [[2, 0]],
    )
    assert.deepEqual(await json('topic', 'seek', 'news', 'earliest', '--dry-run'), [
      { subscription: 'payroll', from: 2, to: 0 },
    ])
    assert.equal(await run('topic', 'seek', 'news', '2'), 'moved 1 subscription of news\n')
    assert.deepEqual(await json('topic', 'seek', 'news', 'earliest', '--subscription', 'payroll'), {
      topic: 'news',
      moved: 1,
    })
    assert.match(await run('topic', 'subscriptions', 'news'), /\npayroll +0 +2 +0 +- /)

    assert.equal((await refused('topic', 'drop', 'news')).code, 2)
    assert.equal(await run('topic', 'drop', 'news', '--yes'), 'removed topic news\n')
    assert.deepEqual(await json('topic', 'list'), [])
  })

  test('bind and unbind, of queues and of patterns', async () => {
    await run('topic', 'create', 'orders')
    await run('queue', 'create', 'invoices')
    assert.equal(await run('topic', 'bind', 'orders', 'invoices'), 'bound invoices to orders\n')
    assert.equal(await run('bind', 'Orders.#', '--topic', 'orders'), 'bound Orders.# to orders\n')
    assert.deepEqual(await json('bind', 'Orders.#', '--topic', 'orders'), {
      pattern: 'Orders.#',
      topic: 'orders',
      bound: false,
    })
    const { copies } = await json('publish', 'Orders.Paid', '{"id":7}')
    assert.deepEqual(copies, [
      { queue: 'invoices', id: '1', duplicate: false },
      { topic: 'orders', offset: 1, duplicate: false },
    ])
    assert.match(await run('topic', 'info', 'orders'), /patterns +Orders\.#\n +queues +invoices\n/)
    assert.equal(await run('unbind', 'Orders.#', '--topic', 'orders'), 'unbound Orders.# from orders\n')
    assert.equal(await run('topic', 'unbind', 'orders', 'invoices'), 'unbound invoices from orders\n')
    assert.equal((await refused('bind', 'Orders.#')).error.code, 'USAGE')
    assert.equal((await refused('bind', 'Orders.#', 'invoices', '--topic', 'orders')).error.code, 'OPTION_CONFLICT')
  })

  test('bad input is refused before anything is connected to', async () => {
    for (const [code, ...args] of [
      ['TOPIC_NAME_INVALID', 'topic', 'create', 'News'],
      ['RANGE', 'topic', 'create', 'news', '--max-age', '1ms'],
      ['TYPE', 'topic', 'seek', 'news', 'start'],
      ['SUBSCRIPTION_NAME_INVALID', 'subscribe', 'news', '--name', 'P'],
      ['TYPE', 'subscribe', 'news', '--from', 'start'],
      ['OPTION_CONFLICT', 'subscribe', 'news', '--follow', '--until-empty', '2'],
    ]) {
      const { code: exit, stderr } = await tidings([
        ...args,
        '--json',
        '--url',
        'postgres://nobody@127.0.0.1:1/none',
      ] as string[])
      assert.deepEqual([exit, JSON.parse(stderr).code], [2, code])
    }
    const { code, error } = await refused('topic', 'info', 'order')
    assert.deepEqual([code, error.code], [1, 'TOPIC_NOT_FOUND'])
  })
})

describe('subscribe', () => {
  test('prints what is there, and leaves nothing behind', async () => {
    await run('topic', 'publish', 'log', '1')
    await run('topic', 'publish', 'log', '"two"')
    const printed = await run('subscribe', 'log', '--wait', '0ms')
    assert.equal(printed, 'Processed offset 1: 1\nProcessed offset 2: "two"\n')
    assert.deepEqual(await json('topic', 'subscriptions', 'log'), [])
    const [first] = lines(await run('subscribe', 'log', '--until-empty', '2', '--wait', '10ms', '--json'))
    const { offset, data, redelivered } = JSON.parse(first!)
    assert.deepEqual([offset, data, redelivered], [1, 1, false])
  })

  test.each(['SIGINT', 'SIGTERM'] as const)('follows until %s, tells what comes again, and leaves', async (signal) => {
    const topic = `follow-${signal.toLowerCase()}`
    await run('topic', 'publish', topic, '1')
    const following = new Tidings(['subscribe', topic, '--name', 'payroll', '--follow', '--url', url])
    await following.until(/Processed offset 1: 1\n/)
    await run('topic', 'publish', topic, '2')
    await following.until(/Processed offset 2: 2\n/)
    await run('topic', 'seek', topic, '2')
    await following.until(/Re-Processed offset 2: 2\n/)
    following.child.kill(signal)
    const { code, stderr } = await following.ended
    assert.deepEqual([code, stderr], [0, '3 messages\n'])
    const [state] = await json('topic', 'subscriptions', topic)
    assert.deepEqual([state.cursor, state.consumer], [2, null])
  })

  test('a topic that is missing is not made by looking at it', async () => {
    for (const args of [
      ['topic', 'read', 'none'],
      ['subscribe', 'none', '--follow'],
    ])
      assert.equal((await refused(...args)).error.code, 'TOPIC_NOT_FOUND')
  })
})
