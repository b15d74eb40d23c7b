import { describe, expect, it } from 'vitest'
import { type Ended, type RunSetting, tidings, useDatabase, write } from './support.ts'

let env: Record<string, string>
useDatabase((url) => {
  env = { DATABASE_URL: url }
})
const run = (args: string[], setting: RunSetting = {}): Promise<Ended> => tidings(args, { ...setting, env })
const ok = (stdout: string, stderr = '') => ({ code: 0, stdout, stderr })

async function peek(queue: string): Promise<Record<string, unknown>[]> {
  const { stdout } = await run(['peek', queue, '--limit', '1000', '--json'])
  return JSON.parse(stdout)
}

describe('one message', () => {
  it('creates the queue and prints the id', async () => {
    expect(await run(['enqueue', 'hires', '{"name":"Ada"}', '--json'])).toEqual(ok('{"id":"1","queue":"hires"}\n'))
    expect(await run(['enqueue', 'hires', '{"name":"Bob"}'])).toEqual(ok('enqueued message 2 in hires\n'))
  })

  it('comes from standard input, asked for or not', async () => {
    expect(await run(['enqueue', 'piped', '-'], { input: '{"n":\n1}' })).toEqual(ok('enqueued message 1 in piped\n'))
    expect(await run(['enqueue', 'piped'], { input: '"text"\n' })).toEqual(ok('enqueued message 2 in piped\n'))
    expect(await peek('piped')).toMatchObject([{ data: { n: 1 } }, { data: 'text' }])
  })

  it('is kept exactly, or refused with the path of the invalid value', async () => {
    const large = '{"id":12345678901234567890,"near":9007199254740993}'
    const kept: [string[], RunSetting][] = [
      [[large], {}],
      [[], { input: `\ufeff${large}\r\n` }],
      [['--file', write('large-integers.jsonl', `\ufeff${large}\r\n`)], {}],
    ]
    for (const [args, setting] of kept)
      expect(await run(['enqueue', 'exact', ...args], setting)).toMatchObject({ code: 0 })
    const { stdout } = await run(['peek', 'exact', '--json'])
    expect(stdout.match(/12345678901234567890/g)).toHaveLength(3)
    expect(stdout.match(/9007199254740993/g)).toHaveLength(3)

    const refused: [string[], string | Buffer | undefined, RegExp][] = [
      [[], Buffer.from('{"name":"Zo\xeb"}', 'latin1'), /standard input is in another encoding, not UTF-8/],
      [[], Buffer.from('\ufeff{"n":1}', 'utf16le'), /standard input is UTF-16, not UTF-8/],
      [['{"price":0.12345678901234567890}'], undefined, /data\.price is 0\.1234.*which a number cannot hold/],
      [['{"a":1,"a":2}'], undefined, /data\.a is given twice/],
      [['{"n":-0}'], undefined, /data\.n is -0/],
      [['{"n":1e400}'], undefined, /data\.n is 1e400/],
      [['1', '--headers', '{"a":1,"a":2}'], undefined, /--headers\.a is given twice/],
    ]
    for (const [args, input, words] of refused) {
      const { code, stderr } = await run(['enqueue', 'exact', ...args], input === undefined ? {} : { input })
      expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringMatching(words) })
    }
    expect((await peek('exact')).length).toBe(3)
  })

  it('takes everything that the bus should know', async () => {
    const flags =
      '--delay 1h --priority 7 --correlation-id 7 --correlation-queue back --target-id p-1 --message-version 2'
    const more = '--source-system hr --action-type add --business-reason growth --associated-period 2026 --event-key k'
    const headers = ['--headers', '{"trace":{"id":1}}']
    await run(['enqueue', 'full', '1', ...`${flags} ${more}`.split(' '), ...headers])
    const [message] = await peek('full')
    expect(message).toMatchObject({ priority: 7, headers: { trace: { id: 1 } } })
    expect(message?.meta).toEqual({
      queueName: 'full',
      correlationId: '7',
      correlationQueue: 'back',
      targetId: 'p-1',
      version: '2',
      sourceSystem: 'hr',
      actionType: 'add',
      businessReason: 'growth',
      associatedPeriod: '2026',
      eventKey: 'k',
    })
    expect(Date.parse(String(message?.visibleAt)) - Date.now()).toBeGreaterThan(3_500_000)
  })

  it('refuses duplicates', async () => {
    const args = ['enqueue', 'once', '1', '--dedup-id', 'a']
    expect((await run(args)).code).toBe(0)
    expect(await run(args)).toEqual({
      code: 1,
      stdout: '',
      stderr:
        `error: queue 'once' already has message 1 with dedup id "a"\n` +
        'hint: The first message stands; nothing was stored for this one.\n',
    })
    const target = ['enqueue', 'targets', '1', '--unique-target', '--target-id', 't']
    expect((await run(target)).code).toBe(0)
    expect((await run(target)).code).toBe(1)
  })

  it('replaces what nobody has read, and asks for the id', async () => {
    const args = (data: string) => ['enqueue', 'last', data, '--dedup-id', 'a', '--while-active', 'keepLast', '--json']
    for (const data of ['1', '2']) expect(await run(args(data))).toEqual(ok('{"id":"1","queue":"last"}\n'))
    const debounce = '--dedup-id b --dedup-window 1h --dedup-replace --dedup-extend --dedup-at-most 2h --delay 1h'
    for (const data of ['3', '4']) await run(['enqueue', 'last', data, ...debounce.split(' ')])
    expect(await peek('last')).toMatchObject([{ data: 2, orderingKey: 'a' }, { data: 4 }])
    expect(await run(['enqueue', 'last', '5', '--dedup-replace'])).toEqual({
      code: 2,
      stdout: '',
      stderr: expect.stringMatching(/^error: --dedup-replace needs --dedup-id\n/),
    })
  })

  it('refuses options that contradict each other', async () => {
    const { code, stderr } = await run(['enqueue', 'hires', '1', '--delay', '1s', '--at', '2030-01-01'])
    expect({ code, stderr }).toEqual({
      code: 2,
      stderr: "error: 'delay' and 'at' are both given\nhint: Use only one of the two.\n",
    })
  })
})

describe('a file of JSON Lines', () => {
  const lines = (from: number, to: number) =>
    Array.from({ length: to - from + 1 }, (_, index) => `{"n":${from + index}}\n`).join('')

  it('is sent in its order', async () => {
    const file = write('many.jsonl', `\ufeff${lines(1, 2_500)}\n\r\n{"n":"a\u2028b"}`)
    expect(await run(['enqueue', 'many', '--file', file, '--json'])).toEqual(
      ok('{"queue":"many","sent":2501,"duplicates":0,"skipped":0}\n'),
    )
    const ids = (await peek('many')).map(({ data }) => (data as { n: number }).n)
    expect(ids).toEqual(Array.from({ length: 1_000 }, (_, index) => index + 1))
  })

  it('is not sent at all if a line of it is broken', async () => {
    const file = write('broken.jsonl', `${lines(1, 2_000)}{"n":\n${lines(2_002, 2_010)}`)
    const { code, stdout, stderr } = await run(['enqueue', 'broken', '--file', file])
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toBe(
      `error: line 2001 of ${file}: it is not JSON: Unexpected end of JSON input; nothing was sent\n` +
        'hint: Correct the line, or leave out such lines with --skip-invalid.\n',
    )
    expect((await run(['queue', 'status', 'broken'])).code).toBe(1)
  })

  it('is sent up to the batch before a broken line if it can be read only once', async () => {
    const input = `${lines(1, 1_500)}oops\n${lines(1_502, 1_510)}`
    const { code, stderr } = await run(['enqueue', 'stream', '--file', '-'], { input })
    expect(code).toBe(2)
    expect(stderr).toMatch(/^error: line 1501: it is not JSON: .*; 1,000 messages before it were sent\n/)
    expect(JSON.parse((await run(['queue', 'status', 'stream', '--json'])).stdout)).toMatchObject({ ready: 1_000 })
  })

  it('is sent without its broken lines on request', async () => {
    const file = write('skip.jsonl', '{"n":1}\nno\n{"n":"\\u0000"}\n{"n":2}\n')
    const { code, stdout, stderr } = await run(['enqueue', 'skip', '--file', file, '--skip-invalid'])
    expect({ code, stdout }).toEqual({ code: 0, stdout: 'enqueued 2 messages in skip (2 lines left out)\n' })
    expect(stderr).toMatch(/^left out line 2: it is not JSON: .*\nleft out line 3: data.n contains a NUL character/)
    expect(await peek('skip')).toMatchObject([{ data: { n: 1 } }, { data: { n: 2 } }])
  })

  it('refuses lines that are not UTF-8 or too large', async () => {
    const file = write('large.jsonl', JSON.stringify('x'.repeat(1_048_577)))
    expect((await run(['enqueue', 'large', '--file', file])).stderr).toContain(
      'line 1 of ' + file + ': it is 1048579 bytes of JSON; at most 1048576; nothing was sent',
    )
  })

  it('refuses options by which all lines but the first would be duplicates', async () => {
    const file = write('same.jsonl', '1\n2\n')
    expect((await run(['enqueue', 'same', '--file', file, '--dedup-id', 'x'])).stderr).toBe(
      'error: --dedup-id with --file would send the first line only\nhint: Use only one of the two.\n',
    )
  })
})
