import { describe, expect, it } from 'vitest'
import { type Ended, type RunSetting, tidings, useDatabase } from './support.ts'

let env: Record<string, string>
useDatabase(
  (url) => {
    env = { DATABASE_URL: url }
  },
  async () => {
    for (const queue of ['audit', 'invoices']) await run(['queue', 'create', queue])
  },
)
const run = (args: string[], setting: RunSetting = {}): Promise<Ended> => tidings(args, { ...setting, env })
const ok = (stdout: string, stderr = '') => ({ code: 0, stdout, stderr })

describe('bindings', () => {
  it('are none at first', async () => {
    expect(await run(['bindings'])).toEqual(ok('no bindings yet\n'))
    expect(await run(['bindings', '--json'])).toEqual(ok('[]\n'))
  })

  it('are made, listed and removed', async () => {
    expect(await run(['bind', 'Orders.*.Paid', 'invoices'])).toEqual(ok('bound Orders.*.Paid to invoices\n'))
    expect(await run(['bind', 'Orders.*.Paid', 'invoices'])).toEqual(
      ok('Orders.*.Paid was bound to invoices already\n'),
    )
    expect(await run(['bind', 'Orders.#', 'audit', '--json'])).toEqual(
      ok('{"pattern":"Orders.#","queue":"audit","bound":true}\n'),
    )
    const { stdout } = await run(['bindings', '--json'])
    const boundAt = expect.stringMatching(/^20\d\d-.*Z$/)
    expect(JSON.parse(stdout)).toEqual([
      { pattern: 'Orders.#', queue: 'audit', boundAt },
      { pattern: 'Orders.*.Paid', queue: 'invoices', boundAt },
    ])
    expect((await run(['bindings', 'invoices'])).stdout).toMatch(
      /^PATTERN {8}QUEUE {5}BOUND\nOrders\.\*\.Paid {2}invoices {2}20/,
    )
    await run(['bind', 'Orders.Gone', 'audit'])
    expect(await run(['unbind', 'Orders.Gone', 'audit'])).toEqual(ok('unbound Orders.Gone from audit\n'))
    expect(await run(['unbind', 'Orders.Gone', 'audit', '--json'])).toEqual(
      ok('{"pattern":"Orders.Gone","queue":"audit","unbound":false}\n'),
    )
  })

  it('that cannot be are refused', async () => {
    expect(await run(['bind', 'a.**', 'audit'])).toMatchObject({
      code: 2,
      stdout: '',
      stderr: expect.stringMatching(/^error: .*"a\.\*\*".*position 3\nhint: /),
    })
    expect(await run(['bind', 'a', 'adit', '--json'])).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/"QUEUE_NOT_FOUND".*Did you mean 'audit'\?/),
    })
  })
})

describe('publish', () => {
  it('sends to every bound queue', async () => {
    expect(await run(['publish', 'Orders.Events.Paid', '{"id":7}', '--target-id', 'o-7', '--json'])).toEqual(
      ok(
        '{"routingKey":"Orders.Events.Paid","copies":[{"queue":"audit","id":"1","duplicate":false},' +
          '{"queue":"invoices","id":"1","duplicate":false}]}\n',
      ),
    )
    const [message] = JSON.parse((await run(['peek', 'invoices', '--json'])).stdout)
    expect(message).toMatchObject({ data: { id: 7 } })
    expect(message.meta).toEqual({ queueName: 'invoices', routingKey: 'Orders.Events.Paid', targetId: 'o-7' })
  })

  it('reads standard input and says where it went', async () => {
    const once = ['publish', 'Orders.New', '-', '--dedup-id', 'once']
    expect(await run(once, { input: '[1]\n' })).toEqual(ok('published Orders.New to 1 place\n  audit: message 2\n'))
    expect(await run(once, { input: '[1]\n' })).toEqual(
      ok('published Orders.New to 1 place\n  audit: duplicate of message 2\n'),
    )
  })

  it('says when nobody is bound, and fails if that must not be', async () => {
    expect(await run(['publish', 'Nobody.Here', '1'])).toEqual(
      ok('no queue or topic is bound for Nobody.Here; nothing was stored\n'),
    )
    expect(await run(['publish', 'Nobody.Here', '1', '--mandatory'])).toMatchObject({
      code: 1,
      stdout: '',
      stderr: expect.stringMatching(
        /^error: no queue or topic is bound to a pattern that matches "Nobody\.Here"\nhint: Bind/,
      ),
    })
  })

  it('refuses a routing key that is none', async () => {
    expect(await run(['publish', 'a.*', '1'])).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/^error: routing key "a\.\*" has "\*", at position 3\n/),
    })
  })
})

it('every command shows an example', async () => {
  for (const name of ['publish', 'bind', 'unbind', 'bindings']) {
    const { code, stdout } = await run([name, '--help'])
    expect({ name, code, stdout }).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(new RegExp(`Examples?:\n  \\$ tidings ${name}\\b`)),
    })
  }
})
