// The recipes as programs: the code of the page is compiled, started, asked, and told to end.
import { spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { connect } from 'tidings'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { sharedServer } from './support/shared-servers.ts'

const root = fileURLToPath(new URL('..', import.meta.url))
/** Its packages are the frameworks. */
const consumer = join(root, 'test/consumer')
/** What types of constructors are written down by, which Nest injects by. */
const ts: { transpileModule(code: string, options: object): { outputText: string } } = createRequire(
  join(consumer, 'package.json'),
)('typescript')

mkdirSync(join(consumer, '.cache'), { recursive: true })
const work = mkdtempSync(join(consumer, '.cache/recipes-'))
writeFileSync(join(work, 'package.json'), '{ "type": "module" }')

const database = `recipes_${process.pid}_${Date.now()}`
const server = await sharedServer('postgres18')
const url = server.replace(/[^/]+$/, database)

async function onServer(sql: string): Promise<void> {
  const client = new pg.Client({ connectionString: server })
  await client.connect()
  await client.query(sql)
  await client.end()
}
beforeAll(() => onServer(`CREATE DATABASE ${database}`))
afterAll(async () => {
  rmSync(work, { recursive: true })
  await onServer(`DROP DATABASE ${database} WITH (FORCE)`)
})

const freePort = () =>
  new Promise<number>((resolve) => {
    const listener = createServer().listen(0, '127.0.0.1', () => {
      const { port } = listener.address() as { port: number }
      listener.close(() => resolve(port))
    })
  })

/** The blocks of TypeScript on a page. */
function blocksOf(name: string): string[] {
  const page = readFileSync(join(root, `docs/recipes/${name}.md`), 'utf8')
  return [...page.matchAll(/^```ts\n([\s\S]*?)^```$/gm)].map(([, code]) => code!)
}

/** The words of a page about the dashboard, put into its code. */
const dashboard = `import { dashboard } from 'tidings-server'
const authorize = () => ({ who: 'Ada' })
`
/** What the second block of the page registers. */
const fastifyDashboard = `const pages = dashboard(app.bus, { authorize })
${blocksOf('fastify')[1]!.split('\n\n')[2]}
`
const nestDashboard = `const bus = app.get(Bus)
app.use('/admin/queues', dashboard(bus, { authorize }).node)
`
const mountedIn: Readonly<Record<string, readonly [before: string, code: string]>> = {
  express: ["app.post('/hires'", "app.use('/admin/queues', dashboard(bus, { authorize }).node)\n"],
  fastify: ["process.once('SIGTERM'", fastifyDashboard],
  nestjs: ['await app.listen', nestDashboard],
}

/** The first block of TypeScript of the page, with another port and the dashboard. */
function programOf(name: string, port: number): string {
  const [code] = blocksOf(name) as [string]
  const [before, mount] = mountedIn[name]!
  for (const call of [before, '3000']) expect(code.split(call), call).toHaveLength(2)
  const whole = `${dashboard}${code.replace(before, `${mount}${before}`).replace('3000', String(port))}`
  return ts.transpileModule(whole, {
    compilerOptions: {
      module: 'esnext',
      target: 'es2022',
      experimentalDecorators: true,
      emitDecoratorMetadata: true,
    },
  }).outputText
}

/** A program until it has ended. */
function start(file: string) {
  const { PATH = '' } = process.env
  const child = spawn(process.execPath, [file], { env: { PATH, DATABASE_URL: url } })
  onTestFinished(() => void child.kill('SIGKILL'))
  let output = ''
  let onOutput = () => {}
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk) => {
      output += chunk
      onOutput()
    })
  const ended = new Promise<{ code: number | null; signal: string | null }>((resolve) =>
    child.once('close', (code, signal) => resolve({ code, signal })),
  )
  const said = (words: RegExp) =>
    Promise.race([
      new Promise<void>((resolve) => {
        onOutput = () => words.test(output) && resolve()
        onOutput()
      }),
      ended.then(() => {
        throw new Error(`ended before it said ${words}: ${output}`)
      }),
    ])
  return { child, ended, said, output: () => output }
}

/** Asks again while nothing listens yet. */
async function ask(port: number, path: string, init?: RequestInit): Promise<Response> {
  for (;;) {
    try {
      return await fetch(`http://127.0.0.1:${port}${path}`, init)
    } catch (error) {
      if ((error as { cause?: { code?: string } }).cause?.code !== 'ECONNREFUSED') throw error
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
  }
}

// Nest ends itself by the signal once all has stopped.
test.each([
  ['express', { code: 0, signal: null }],
  ['fastify', { code: 0, signal: null }],
  ['nestjs', { code: null, signal: 'SIGTERM' }],
])('%s: a route sends, the worker handles, the dashboard is there, and SIGTERM ends all', async (name, end) => {
  const port = await freePort()
  const file = join(work, `${name}.js`)
  writeFileSync(file, programOf(name, port))
  const program = start(file)
  const init = { method: 'POST', headers: { 'content-type': 'application/json' }, body: `{"name":"Ada of ${name}"}` }
  const response = await Promise.race([
    ask(port, '/hires', init),
    program.ended.then(() => Promise.reject(new Error(program.output()))),
  ])
  expect([response.status, await response.json()], program.output()).toEqual([
    202,
    { id: expect.stringMatching(/^\d+$/) },
  ])
  await program.said(name === 'fastify' ? new RegExp(`"hire":"Ada of ${name}"`) : new RegExp(`welcome, Ada of ${name}`))
  const pages = await ask(port, '/admin/queues/')
  expect([pages.status, await pages.text()]).toEqual([200, expect.stringContaining('<title>')])
  const acted = await ask(port, '/admin/queues/api/v1/queues/hires/messages', {
    ...init,
    headers: { ...init.headers, 'x-tidings-dashboard': '1' },
    body: '{"message":{"name":"Bob"}}',
  })
  expect([acted.status, await acted.text()]).toEqual([201, expect.any(String)])
  await program.said(name === 'fastify' ? /"hire":"Bob"/ : /welcome, Bob/)
  program.child.kill('SIGTERM')
  expect(await program.ended, program.output()).toEqual(end)
  await using bus = await connect(url)
  expect(await bus.queue('hires').stats()).toMatchObject({ ready: 0, leased: 0, delayed: 0 })
})
