import { chmodSync, chownSync, mkdirSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { folder, tidings, write } from './support.ts'

const good = 'export const handle = () => {}\n'
const goOn = 'Correct it, or go on without with --skip-broken.'

/** Loads the modules of a folder. They are loaded before anything is connected to. */
const load = (name: string, ...flags: string[]) =>
  tidings(['process', '--handlers', name, '--once', '--url', 'memory:', ...flags])

async function expectRefused(name: string, error: string, hint = goOn, ...flags: string[]): Promise<void> {
  expect(await load(name, ...flags)).toEqual({ code: 2, stdout: '', stderr: `error: ${error}\nhint: ${hint}\n` })
}

describe('a folder of handlers that cannot be used', () => {
  it('is missing', () =>
    expectRefused(
      'nowhere',
      "the handlers folder 'nowhere' does not exist",
      'Create it, with one module a queue that exports handle(message, context).',
    ))

  it('is ./handlers, if it is not named', async () => {
    const { code, stderr } = await tidings(['process', '--once', '--url', 'memory:'])
    expect(code).toBe(2)
    expect(stderr).toContain("the handlers folder 'handlers' does not exist")
  })

  it('is a file', async () => {
    write('file', '')
    await expectRefused(
      'file',
      "the handlers folder 'file' is a file",
      'Name the folder that the handler modules are in.',
    )
  })

  it('is empty, or holds no handler', async () => {
    for (const other of ['.a.ts', 'a.d.ts', 'a.test.ts', 'a.node', 'README.md', 'node_modules/a.js', 'lib/b.mjs'])
      write(`none/${other}`, 'throw new Error("loaded")')
    await expectRefused(
      'none',
      "the handlers folder 'none' has no usable modules",
      'Put one module a queue into the folder, named like the queue, that exports handle(message, context).',
    )
  })

  it('can be changed by everybody', async () => {
    write('open/a.mjs', good)
    chmodSync(join(folder, 'open'), 0o777)
    await expectRefused(
      'open',
      "the handlers folder 'open' can be changed by everybody on this machine",
      'Take that right away: chmod o-w open',
    )
  })

  it('has none for a queue that was asked for', async () => {
    write('named/invoices.mjs', good)
    await expectRefused(
      'named',
      'no handler for queue "invoces" in \'named\'',
      "Did you mean 'invoices'?",
      '--queue',
      'invoces',
    )
    await expectRefused('named', 'no handler for queue "x" in \'named\'', 'Create named/x.ts.', '--queue', 'x')
  })
})

describe('several folders', () => {
  const run = (...flags: string[]) => tidings(['process', '--once', '--json', '--url', 'memory:', ...flags])
  const queuesOf = ({ stdout }: { stdout: string }) =>
    JSON.parse(stdout.trimEnd().split('\n').at(-1)!).queues.map(({ queue }: { queue: string }) => queue)

  it('are given one by one, together, and by the other name', async () => {
    write('billing/invoices.mjs', good)
    write('shipping/parcels.mjs', good)
    write('empty/README.md', '')
    expect(queuesOf(await run('--handlers', 'billing', '--handlers', 'shipping'))).toEqual(['invoices', 'parcels'])
    expect(queuesOf(await run('--handlers', 'billing', 'shipping', 'empty'))).toEqual(['invoices', 'parcels'])
    expect(queuesOf(await run('--handlers-path', 'billing', '--handlers', 'shipping'))).toEqual(['parcels', 'invoices'])
    expect(queuesOf(await run('--handlers', 'billing', './billing/../billing'))).toEqual(['invoices'])
    expect(queuesOf(await run('--handlers', 'billing', 'shipping', '--queue', 'parcels'))).toEqual(['parcels'])
  })

  it('must not hold two modules for one queue, and one must hold what is asked for', async () => {
    write('first/orders.mjs', good)
    write('second/orders.ts', good)
    const twice = await run('--handlers', 'first', 'second')
    expect({ code: twice.code, error: JSON.parse(twice.stderr).message }).toEqual({
      code: 2,
      error: 'first/orders.mjs: the queue has more than one module: first/orders.mjs, second/orders.ts',
    })
    const none = await run('--handlers', 'first', 'billing', '--queue', 'x')
    expect(JSON.parse(none.stderr).message).toBe("no handler for queue \"x\" in 'first', 'billing'")
  })
})

describe('a handler module that cannot be used', () => {
  const broken: [what: string, file: string, text: string, error: string][] = [
    ['syntax error', 'a.mjs', 'const a = 1\nfunction f( {\n', ':2: Unexpected end of input'],
    ['syntax error in TypeScript', 'a.ts', 'const a: number = 1\nconst b: = 2\n', ':2: Unexpected token `=`'],
    ['syntax that cannot be erased', 'a.ts', '\n\nenum A { B }\n', ':3: TypeScript enum is not supported'],
    ['throws when imported', 'a.ts', 'interface A { b: 1 }\n\nthrow new Error("no luck")\n', ':3: no luck'],
    ['throws null', 'a.mjs', 'throw null\n', ': threw null'],
    ['imports what is not there', 'a.ts', "import './b.ts'\n", ": Cannot find module '"],
    ['no handle', 'a.ts', 'export const handler = 1\n', ': it exports no handle(message, context)'],
    ['handle is no function', 'a.ts', 'export const handle = "x"\n', ': handle is "x"; it must be a function'],
    [
      'validate is no function',
      'a.ts',
      `${good}export const validate = {}\n`,
      ': validate is an object; it must be a function',
    ],
    [
      'unknown option',
      'a.ts',
      `${good}export const options = { concurency: 2 }\n`,
      ': options has no option "concurency". Did you mean \'concurrency\'?',
    ],
    [
      'option out of range',
      'a.ts',
      `${good}export const options = { concurrency: 0 }\n`,
      ': options: concurrency is 0; it must be between 1 and 10000',
    ],
    ['invalid name', 'Orders.ts', good, ': queue name "Orders" has upper-case letters; write "orders"'],
  ]

  it.concurrent.each(broken)('%s', async (what, file, text, error) => {
    const name = `broken-${what.replaceAll(' ', '-')}`
    write(`${name}/${file}`, text)
    const { code, stdout, stderr } = await load(name)
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toContain(`error: ${name}/${file}${error}`)
    expect(stderr).toMatch(/^[^\n]+\nhint: [^\n]+\n$/)
  })

  it('names the location in an imported module', async () => {
    write('imports/a.ts', `import './lib/b.ts'\n${good}`)
    write('imports/lib/b.ts', '\nconst b: string = null as any\nb.boom()\n')
    await expectRefused(
      'imports',
      "imports/a.ts: Cannot read properties of null (reading 'boom') (at imports/lib/b.ts:3)",
    )
  })

  it('two modules for one queue', async () => {
    write('two/a.ts', good)
    write('two/a.js', good)
    await expectRefused('two', 'two/a.js: the queue has more than one module: a.js, a.ts')
  })

  it('a link out of the folder, or to nothing', async () => {
    const target = write('elsewhere.mjs', good)
    mkdirSync(join(folder, 'links'))
    symlinkSync(target, join(folder, 'links/a.mjs'))
    await expectRefused('links', `links/a.mjs: it is a link to '${target}', outside of the folder`)
    mkdirSync(join(folder, 'dangling'))
    symlinkSync('nowhere', join(folder, 'dangling/a.mjs'))
    await expectRefused('dangling', 'dangling/a.mjs: it is a link to nothing')
  })

  it('a file that everybody can change', async () => {
    chmodSync(write('writable/a.mjs', good), 0o666)
    await expectRefused('writable', 'writable/a.mjs: it can be changed by everybody on this machine (chmod o-w)')
  })

  it.skipIf(process.geteuid?.() !== 0)('a file of another user, or a folder', async () => {
    chownSync(write('foreign/a.mjs', good), 65_534, 65_534)
    await expectRefused('foreign', 'foreign/a.mjs: it belongs to another user (uid 65534) (chown 0)')
    write('foreign-folder/a.mjs', good)
    chownSync(join(folder, 'foreign-folder'), 65_534, 65_534)
    await expectRefused(
      'foreign-folder',
      "the handlers folder 'foreign-folder' belongs to another user (uid 65534)",
      'Take that right away: chown 0 foreign-folder',
    )
  })

  it('is left out with --skip-broken; all of them are named', async () => {
    write('mixed/a.mjs', 'export const handle = 1')
    write('mixed/b.mjs', 'throw new Error("b")')
    write('mixed/c.mjs', good)
    await expectRefused('mixed', 'mixed/a.mjs: handle is 1; it must be a function\n       mixed/b.mjs:1: b')
    const { code, stdout, stderr } = await load('mixed', '--skip-broken')
    expect(code).toBe(0)
    expect(stderr).toBe(
      'left out: mixed/a.mjs: handle is 1; it must be a function\nleft out: mixed/b.mjs:1: b\n' +
        'handling c until there is no more\n',
    )
    expect(stdout).toMatch(/^QUEUE .*\nc /)
  })

  it('is not even loaded if its queue was not asked for', async () => {
    write('others/a.mjs', 'throw new Error("loaded")')
    write('others/b.mjs', good)
    expect((await load('others', '--queue', 'b')).code).toBe(0)
  })
})

describe('handler modules', () => {
  it('are TypeScript or JavaScript, with named exports, a default export or CommonJS', async () => {
    write(
      'kinds/a.ts',
      `import { b } from './lib/b.ts'\nimport type { C } from 'nowhere'\nexport const handle = (): C => b\n`,
    )
    write('kinds/lib/b.ts', 'export const b = 1 satisfies number\n')
    write('kinds/c.mts', good)
    write('kinds/d.js', good)
    write('kinds/e.js', 'module.exports = { handle() {} }\n')
    write('kinds/f.mjs', 'export default { handle() {} }\n')
    write('kinds/g.v2.mjs', 'export default new (class { handle() {} })()\n')
    mkdirSync(join(folder, 'kinds/inner'))
    symlinkSync('lib/h.mjs', join(folder, 'kinds/h.mjs'))
    write('kinds/lib/h.mjs', good)
    const { code, stderr } = await load('kinds')
    expect({ code, stderr }).toEqual({ code: 0, stderr: 'handling a, c, d, e, f, g.v2, h until there is no more\n' })
  })

  it('are ES modules in TypeScript also where npm init made a package of CommonJS; JavaScript is told so', async () => {
    write('commonjs/package.json', '{ "name": "x", "type": "commonjs" }')
    write('commonjs/typed/a.ts', "import { b } from './lib/b.ts'\nexport const handle = (): number => b\n")
    write('commonjs/typed/lib/b.ts', 'export const b: number = 1\n')
    const { code, stderr } = await load('commonjs/typed')
    expect({ code, stderr }).toEqual({ code: 0, stderr: 'handling a until there is no more\n' })
    write('commonjs/plain/a.js', good)
    const plain = await load('commonjs/plain')
    expect(plain.code).toBe(2)
    expect(plain.stderr).toContain(
      `commonjs/plain/a.js:1: Unexpected token 'export' ("type" in package.json is not "module": change that, or name the file .mjs)`,
    )
  })
})
