import { execFile } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, expect, test } from 'vitest'

const root = fileURLToPath(new URL('..', import.meta.url))
// Inside of the project, so that 'tidings' is the package itself.
const work = join(root, '.cache', `comments-test-${process.pid}`)
mkdirSync(work, { recursive: true })
afterAll(() => rmSync(work, { recursive: true, force: true }))

/** What the examples take as there. */
const given = `import type { Bus, Handler, Message, Queue, Subscriber, Topic, Worker } from 'tidings'
import type { Pgmq as PgmqClient } from 'tidings/pgmq'
import type { FakeClock as Clock } from 'tidings/testing'
import type { Server } from 'tidings-server'
declare global {
  const bus: Bus
  const hires: Queue<{ name: string }>
  const news: Topic<{ title: string }>
  const message: Message<{ name: string }>
  const worker: Worker
  const subscriber: Subscriber
  const server: Server
  const clock: Clock
  const pgmq: PgmqClient
  const handler: Handler<unknown>
  const schema: import('zod').ZodType<{ name: string }>
  const error: unknown
  const app: { use(path: string, handler: unknown): void }
  const userOf: (request: Request) => Promise<{ who: string } | null>
}`
const imports = [
  "import { archive, bytes, connect, deadLetter, done, eventsMigration, exponential, fixed, isTidingsError, linear, logging, pipe, retry, routes, snooze, timeout, validated, versions } from 'tidings'",
  "import { deliver, FakeClock, memoryBus } from 'tidings/testing'",
  "import { createServer, dashboard } from 'tidings-server'",
]

interface Example {
  readonly place: string
  readonly code: string
}

const folders = ['tidings', 'server'].map((name) => join(root, 'packages', name, 'src'))
const sources = folders.flatMap((folder) =>
  readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.ts') && !path.endsWith('.gen.ts'))
    .map((path) => ({ path, text: readFileSync(join(folder, path), 'utf8') })),
)

/** From `@example` to the next tag or the end of the comment. */
const examples: Example[] = sources.flatMap(({ path, text }) =>
  [...text.matchAll(/\/\*\*(?:(?!\*\/)[\s\S])*?@example\s([\s\S]*?)(?=\n\s*\*\s@|\s*\*\/)/g)].map(
    ([, code], index) => ({
      place: `${path}-${index}`,
      code: code!.replace(/^\s*\* ?/gm, ''),
    }),
  ),
)

/** What users call and find by the editor's help. Getters and what is for other packages alone may go without. */
const classes = [
  'Bus',
  'Queue',
  'Topic',
  'DeadLetters',
  'Worker',
  'Message',
  'Subscriber',
  'Subscription',
  'Sentinel',
  'Pgmq',
  'PgmqQueues',
  'PgmqMessages',
  'PgmqTopics',
  'PgmqNotifications',
]

test.each(classes)('every public method of %s shows its use', (name) => {
  const declaring = sources.find(
    ({ text }) => text.includes(`export class ${name} `) || text.includes(`export class ${name}<`),
  )
  const [, body = ''] = declaring!.text.split(new RegExp(`export class ${name}\\b`))
  const own = body.slice(0, body.indexOf('\n}\n'))
  const methods = [
    ...own.matchAll(/(\/\*\*(?:(?!\*\/)[\s\S])*\*\/\n)?^ {2}(?:override )?(?:async )?([a-z]\w+)(?:<[^(\n]*>)?\(/gm),
  ]
  const without = methods.filter(([, comment]) => !comment?.includes('@example') && !comment?.includes('@internal'))
  const shown = new Set(methods.filter(([, comment]) => comment?.includes('@example')).map(([, , method]) => method))
  expect(shown.size).toBeGreaterThan(0)
  // Overloads share the comment of the first.
  expect(
    without.map(([, , method]) => method).filter((method) => method !== 'constructor' && !shown.has(method)),
  ).toEqual([])
})

test('every example type-checks', async () => {
  expect(examples.length).toBeGreaterThan(70)
  writeFileSync(join(work, 'given.d.ts'), given)
  const compilerOptions = { noUnusedLocals: false }
  writeFileSync(
    join(work, 'tsconfig.json'),
    JSON.stringify({ extends: '../../tsconfig.json', compilerOptions, include: ['*.ts'] }),
  )
  for (const { place, code } of examples) {
    const own = imports.map((line) =>
      line.replace(
        /\{ (.*) \}/,
        (_, names: string) =>
          `{ ${names
            .split(', ')
            .filter((one) => !code.includes(`import { ${one}`))
            .join(', ')} }`,
      ),
    )
    writeFileSync(join(work, `${place.replaceAll(/\W/g, '-')}.ts`), `${own.join('\n')}\n${code}\nexport {}\n`)
  }
  const { stdout } = await promisify(execFile)(join(root, 'node_modules/.bin/tsc'), ['-p', work], { cwd: work }).catch(
    (failed: { stdout: string }) => failed,
  )
  expect(stdout).toBe('')
})
