import { describe, expect, it } from 'vitest'
import { tidings } from './support.ts'

const usageHint = 'hint: Run the command with --help to see how it is used.'
const durationHint = "hint: Write a duration as '250ms', '5s', '2m', '1h', '7d', or as a number of milliseconds."
const quoteHint = `hint: Quote it for the shell: '{"name":"Ada"}'; a text is JSON in double quotes: '"text"'.`

/** None of these gets as far as a storage; without one they would start a local PostgreSQL. */
const wrong: [args: string[], error: string, hint: string][] = [
  [['enqeue'], "unknown command 'enqeue'", 'hint: Did you mean enqueue?'],
  [['queue', 'lst'], "unknown command 'lst'", 'hint: Did you mean list?'],
  [['status', '--jsn'], "unknown option '--jsn'", 'hint: Did you mean --json?'],
  [['process', '--concurency', '3'], "unknown option '--concurency'", 'hint: Did you mean --concurrency?'],
  [['status', '--dsn=postgres://a:secret@b/c'], "unknown option '--dsn'", 'hint: Did you mean --url?'],
  [['enqueue', 'hires', '{}', '--version', '2'], "unknown option '--version'", 'hint: Did you mean --message-version?'],
  [
    ['read', 'hires', '--visibility-timeout', '9'],
    "unknown option '--visibility-timeout'",
    'hint: Did you mean --lease?',
  ],
  [['enqueue', '--queue-name', 'hires'], "unknown option '--queue-name'", 'hint: Did you mean <queue>?'],
  [['process', '--attempts', '3'], "unknown option '--attempts'", 'hint: Did you mean --max-attempts?'],
  [['process', '--lease', '1s', '--lease', '2s'], '--lease is given twice', 'hint: Give it once.'],
  [['--url', 'memory:', 'status', '--url', 'local:x'], '--url is given twice', 'hint: Give it once.'],
  [['read'], "missing required argument 'queue'", usageHint],
  [['read', 'hires', 'more'], "too many arguments for 'read'. Expected 1 argument but got 2.", usageHint],
  [['read', 'hires', '--limit'], "option '--limit <n>' argument missing", usageHint],
  [
    ['read', 'hires', '--limit', '-1'],
    '--limit is -1; it must be between 1 and 1000',
    'hint: Use a limit inside the range.',
  ],
  [
    ['read', 'hires', '--limit', 'many'],
    '--limit is "many"; it must be a whole number',
    'hint: Check the type of this value against the reference.',
  ],
  [['read', 'hires', '--lease=abc'], '--lease is "abc", which is not a duration', durationHint],
  [['read', 'hires', '--lease', '30'], '--lease is "30", which is not a duration', durationHint],
  [
    ['read', 'hires', '--lease', '116d'],
    '--lease is 116d; it must be between 100ms and 9999999s',
    'hint: Use a lease between 100ms and 9999999s.',
  ],
  [
    ['read', 'Hires'],
    'queue name "Hires" has upper-case letters; write "hires"',
    "hint: Use 1 to 47 bytes of a-z, 0-9, '_', '-' and '.', starting with a letter, a digit or '_', without '--'.",
  ],
  [
    ['peek', 'hires', '--place', 'here'],
    `--place is "here"; it must be 'ready', 'delayed', 'leased' or 'archived'`,
    'hint: Check the type of this value against the reference.',
  ],
  [['enqueue', 'hires', '{"name":'], 'the data is not JSON: Unexpected end of JSON input', quoteHint],
  [
    ['enqueue', 'hires', '1', '--headers', 'x'],
    `--headers is not JSON: Unexpected token 'x', "x" is not valid JSON`,
    `hint: Quote it for the shell: --headers '{"key":"value"}'`,
  ],
  [
    ['enqueue', 'hires', '{"a":"\\u0000"}'],
    'data.a contains a NUL character (\\u0000), which PostgreSQL cannot store',
    'hint: Remove the character, or encode the text (base64, for example).',
  ],
  [['enqueue', 'hires'], 'standard input is empty', usageHint],
  [['enqueue', 'hires', '1', '--file', 'x.jsonl'], 'data and --file are both given', 'hint: Use only one of the two.'],
  [
    ['enqueue', 'hires', '--file', 'missing.jsonl'],
    "the file 'missing.jsonl' cannot be read: there is none",
    'hint: Correct the path after --file.',
  ],
  [['status', '--watch', 'often'], '--watch is "often", which is not a duration', durationHint],
  [
    ['status', '--url', 'mysql://user:s3cret@host/db'],
    'the URL scheme "mysql" is not known',
    "hint: Use 'postgres://user@host/database', 'redis://host:6379', 'https://host:8080', 'memory:', 'local:./directory', 'redis+local:./directory', or leave it out for the local PostgreSQL.",
  ],
]

describe('asked for wrongly', () => {
  it.concurrent.each(wrong)('%j', async (args, error, hint) => {
    expect(await tidings(args)).toEqual({ code: 2, stdout: '', stderr: `error: ${error}\n${hint}\n` })
  })

  it('gives an error as JSON with --json', async () => {
    const { code, stdout, stderr } = await tidings(['read', 'hires', '--limit', '0', '--json'])
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(JSON.parse(stderr)).toEqual({
      code: 'LIMIT_RANGE',
      message: '--limit is 0; it must be between 1 and 1000',
      hint: 'Use a limit inside the range.',
      details: { field: '--limit', value: 0, min: 1, max: 1000 },
    })
  })

  it('shows the help where a command is missing', async () => {
    const { code, stdout, stderr } = await tidings([])
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toMatch(/^Usage: tidings .*error: a command is missing\n/s)
  })
})

describe('help', () => {
  const commands = [
    ...['enqueue', 'process', 'status', 'read', 'pop', 'peek', 'replay', 'trace', 'processes', 'doctor'],
    ...['create', 'list', 'status', 'purge', 'drop'].map((name) => `queue ${name}`),
    ...['list', 'redrive'].map((name) => `dead-letters ${name}`),
    ...['start', 'stop', 'status'].map((name) => `local ${name}`),
  ]

  it.concurrent.each(commands)('tidings %s: has the global flags and an example', async (command) => {
    const { code, stdout, stderr } = await tidings([...command.split(' '), '--help'])
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    for (const part of ['--url <url>', '--json', `$ tidings ${command}`]) expect(stdout).toContain(part)
  })

  it('shows bounds and defaults of the option schemas', async () => {
    const { stdout } = await tidings(['read', '--help'])
    expect(stdout.replace(/\s+/g, ' ')).toContain(
      '--lease <duration> How long the message stays hidden from other readers. (100ms to 9999999s; default: as stored for the queue, else 30s)',
    )
  })

  it('prints the version', async () => {
    expect(await tidings(['--version'])).toEqual({ code: 0, stdout: '0.1.0\n', stderr: '' })
  })
})
