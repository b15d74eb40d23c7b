import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { errorTable } from 'tidings/internal/core/errors'
import { describe, test } from 'vitest'

/**
 * From the bottom to the top: a file imports from its own room and from those below it, never from above. A room is a
 * folder of a package; only the doors are files.
 */
const rooms: readonly string[] = [
  'tidings/core/',
  'tidings/port/',
  'tidings/events/',
  'tidings/protocol/',
  'tidings/engines/memory/',
  'tidings/engines/http/',
  'tidings/engines/postgres/',
  'tidings/engines/redis/',
  'tidings/adapters/',
  'tidings/messages/',
  'tidings/topics/',
  'tidings/worker/',
  'tidings/subscription/',
  'tidings/schedules/',
  'tidings/sentinel/',
  'tidings/bus/',
  'tidings/router/',
  'tidings/connect',
  'tidings/testing',
  'tidings/index',
  'tidings/pgmq/',
  'tidings/pgmq',
  'local/',
  'server/http/',
  'server/auth/',
  'server/streams/',
  'server/metrics/',
  'server/routes/',
  'server/app/',
  'server/dashboard/',
  'server/listening/',
  'server/index',
  'testkit/',
  'cli/handlers/',
  'cli/config/',
  'cli/',
]

/** What is narrower than the order of the rooms: these may import only from these places, and themselves. */
const narrow: Record<string, readonly string[]> = {
  'tidings/engines/memory/': ['tidings/core/', 'tidings/port/'],
  'tidings/engines/http/': ['tidings/core/', 'tidings/port/', 'tidings/events/', 'tidings/protocol/'],
  'tidings/engines/postgres/': ['tidings/core/', 'tidings/port/', 'tidings/events/'],
  'tidings/engines/redis/': ['tidings/core/', 'tidings/port/'],
  'tidings/adapters/': ['tidings/core/', 'tidings/port/'],
  'tidings/pgmq/': [
    'tidings/core/',
    'tidings/port/',
    'tidings/adapters/',
    'tidings/connect',
    'tidings/engines/postgres/',
  ],
  'local/': ['tidings/core/'],
  'testkit/cases/': ['tidings/core/', 'tidings/port/', 'testkit/'],
}

/** Who may name what nobody else may name. */
const reserved: Record<string, readonly string[]> = {
  'tidings/engines/': ['tidings/connect', 'tidings/testing', 'tidings/pgmq/', 'testkit/', 'tidings/engines/'],
  'tidings/testing': [],
  'local/': ['cli/commands/local', 'local/'],
  'testkit/': ['testkit/', 'cli/commands/stress'],
  'server/': [
    'server/',
    'cli/commands/dashboard',
    'cli/commands/serve',
    'cli/commands/token',
    'cli/config/settings',
    'cli/health',
  ],
  'cli/': ['cli/'],
}

/** Packages, and who may use them. */
const packages: Record<string, readonly string[]> = {
  '@opentelemetry/api': ['tidings/port/opentelemetry', 'tidings/port/exception-log'],
  '@opentelemetry/api-logs': ['tidings/port/exception-log'],
  pg: ['tidings/engines/postgres/', 'local/'],
  croner: ['tidings/schedules/occurrences'],
  ioredis: ['tidings/engines/redis/', 'local/'],
  commander: ['cli/'],
  hono: ['server/'],
  '@hono/node-server': ['server/'],
  pino: ['cli/'],
  'prom-client': ['server/'],
  '@swc/wasm-typescript': ['cli/handlers/'],
  '@standard-schema/spec': ['tidings/core/schema'],
  'smol-toml': ['cli/config/'],
  // In the text that it writes.
  'tidings-cli': ['cli/config/template'],
}

/** Files that have outgrown a sitting and are still to be cut. Nothing is added here. */
const toBeCut: readonly string[] = []

interface Import {
  readonly from: string
  readonly kind: 'value' | 'type' | 'lazy'
}

interface Source {
  readonly name: string
  readonly text: string
  readonly imports: readonly Import[]
}

const root = join(import.meta.dirname, '..')
const folders = readdirSync(join(root, 'packages'))
const sources = new Map(
  folders
    .flatMap((folder) => sourcesIn(folder).map((path) => read(folder, path.slice(0, -'.ts'.length))))
    .map((source) => [source.name, source]),
)

function sourcesIn(folder: string): string[] {
  const paths = readdirSync(join(root, 'packages', folder, 'src'), { recursive: true, encoding: 'utf8' })
  return paths.filter((path) => path.endsWith('.ts'))
}

/** A module is named by the folder of its package and its path in there. */
function read(folder: string, path: string): Source {
  const text = readFileSync(join(root, 'packages', folder, 'src', `${path}.ts`), 'utf8')
  return { name: `${folder}/${path}`, text, imports: importsOf(`${folder}/${path}`, withoutComments(text)) }
}

/** What another package is asked for, by its name and its subpath: the module behind it. */
function moduleOf(specifier: string): string {
  const [, suffix, subpath = ''] = /^tidings(?:-(\w+))?(?:\/(.+))?$/.exec(specifier) ?? []
  if (!specifier.startsWith('tidings')) return specifier
  return `${suffix ?? 'tidings'}/${subpath.replace(/^internal\//, '') || 'index'}`
}

function withoutComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/^\s*\/\/.*$/gm, '')
}

/** Modules of ours by their names, packages by theirs. */
function importsOf(name: string, code: string): Import[] {
  const resolve = (from: string) =>
    from.startsWith('.') ? normalize(join(dirname(name), from)).replace(/\.ts$/, '') : moduleOf(from)
  const clauses = code.matchAll(/^(?:import|export)\s+(type\s)?([^'"`;=()]*?)\s*from\s+['"]([^'"]+)['"]/gm)
  const bare = code.matchAll(/^import\s+['"]([^'"]+)['"]/gm)
  const lazy = code.matchAll(/\bimport\(\s*['"]([^'"]+)['"]\s*\)/g)
  return [
    ...[...clauses].map(([, type, what, from]): Import => {
      const isType = type !== undefined || /^\{(\s*type\s[^,{}]+,?)+\s*\}$/.test(what!)
      return { from: resolve(from!), kind: isType ? 'type' : 'value' }
    }),
    ...[...bare].map(([, from]): Import => ({ from: resolve(from!), kind: 'value' })),
    ...[...lazy].map(([, from]): Import => ({ from: resolve(from!), kind: 'lazy' })),
  ]
}

const isOurs = (name: string) => sources.has(name)
const isIn = (name: string, places: readonly string[]) =>
  places.some((place) => (place.endsWith('/') ? name.startsWith(place) : name === place))
const roomOf = (name: string) => rooms.findIndex((room) => isIn(name, [room]))

/** Every import of the sources that the rule objects to, as sentences. */
function objections(rule: (source: Source, each: Import) => string | false | undefined): string[] {
  return [...sources.values()].flatMap((source) =>
    source.imports.flatMap((each) => {
      const why = rule(source, each)
      return why ? [`${source.name} imports ${each.from}: ${why}`] : []
    }),
  )
}

/** The first way from a module back to itself, by the imports that count. */
function findCycle(counts: (each: Import) => boolean): string[] | null {
  const done = new Set<string>()
  const walk = (name: string, path: string[]): string[] | null => {
    if (path.includes(name)) return [...path.slice(path.indexOf(name)), name]
    if (done.has(name)) return null
    for (const each of sources.get(name)?.imports ?? []) {
      const cycle = counts(each) && isOurs(each.from) ? walk(each.from, [...path, name]) : null
      if (cycle) return cycle
    }
    done.add(name)
    return null
  }
  for (const name of sources.keys()) {
    const cycle = walk(name, [])
    if (cycle) return cycle
  }
  return null
}

describe('the scanner', () => {
  test('tells the kinds of imports apart', () => {
    const code = `
import a from './a.ts'
import type { B } from '../b.ts'
import { type C, type D } from './c.ts'
import { type E, f } from 'e'
import {
  type G,
  h,
} from './g.ts'
export { i } from './i.ts'
export * from './j.ts'
export type { K } from './k.ts'
import './l.ts'
const text = "x from './m.ts'"
const n = await import('./n.ts')
`
    assert.deepEqual(importsOf('x/y', code), [
      { from: 'x/a', kind: 'value' },
      { from: 'b', kind: 'type' },
      { from: 'x/c', kind: 'type' },
      { from: 'e', kind: 'value' },
      { from: 'x/g', kind: 'value' },
      { from: 'x/i', kind: 'value' },
      { from: 'x/j', kind: 'value' },
      { from: 'x/k', kind: 'type' },
      { from: 'x/l', kind: 'value' },
      { from: 'x/n', kind: 'lazy' },
    ])
  })

  test('finds every module that is imported', () => {
    assert(sources.size > 100)
    assert.deepEqual(
      objections(
        (_, { from }) =>
          from.includes('/') && !from.startsWith('@') && !from.startsWith('node:') && !isOurs(from) && 'no such module',
      ),
      [],
    )
  })
})

describe('imports', () => {
  test('go in one direction', () => {
    const homeless = [...sources.keys()].filter((name) => roomOf(name) === -1)
    assert.deepEqual(homeless, [], 'a module outside of the rooms; their list is in test/architecture.test.ts')
    assert.deepEqual(
      objections(({ name }, { from }) => isOurs(from) && roomOf(from) > roomOf(name) && 'its room is above'),
      [],
    )
  })

  test('stay narrow where that matters', () => {
    for (const [folder, places] of Object.entries(narrow))
      assert.deepEqual(
        objections(
          ({ name }, { from }) =>
            name.startsWith(folder) && isOurs(from) && !isIn(from, [folder, ...places]) && 'too far',
        ),
        [],
      )
  })

  test('name engines, servers, tests and commands only where that is their business', () => {
    for (const [place, users] of Object.entries(reserved))
      assert.deepEqual(
        objections(({ name }, { from }) => isIn(from, [place]) && !isIn(name, users) && 'none of its business'),
        [],
      )
  })

  test('of engines and servers by connect are lazy', () => {
    assert.deepEqual(
      objections(
        ({ name }, { from, kind }) =>
          name === 'tidings/connect' && isIn(from, ['tidings/engines/']) && kind === 'value' && kind,
      ),
      [],
    )
    assert(sources.get('tidings/connect')!.imports.some(({ kind }) => kind === 'lazy'))
  })

  test('make no circle', () => {
    assert.equal(
      findCycle(({ kind }) => kind !== 'type'),
      null,
    )
  })

  test('of types make no circle either', () => {
    assert.equal(
      findCycle(() => true),
      null,
    )
  })

  test('of packages are few, each in its place', () => {
    assert.deepEqual(
      objections(
        ({ name }, { from }) =>
          !isOurs(from) &&
          !from.startsWith('node:') &&
          !isIn(name, packages[from] ?? []) &&
          'not a package for this place',
      ),
      [],
    )
  })

  test('of what tests use stay out of what users load', () => {
    assert.deepEqual(
      objections(({ name }, { from }) => from === 'node:assert/strict' && !name.startsWith('testkit/') && 'for tests'),
      [],
    )
  })
})

describe('the HTTP server', () => {
  test('reaches the storage only through the bus, whose options hold there', () => {
    const uses = /[.?]engine\b|\bengine\s*[,}]/
    const past = [...sources.values()].filter(
      ({ name, text }) => name.startsWith('server/') && uses.test(withoutComments(text)),
    )
    assert.deepEqual(
      past.map(({ name }) => name),
      [],
    )
    assert.deepEqual(
      objections(
        ({ name }, { from, kind }) =>
          name.startsWith('server/') &&
          isIn(from, ['tidings/port/engine', 'tidings/port/topic-store']) &&
          kind !== 'type' &&
          'only types of data',
      ),
      [],
    )
  })
})

describe('the pages of the dashboard', () => {
  const folder = join(root, 'packages', 'server', 'dashboard')
  const paths = readdirSync(folder, { recursive: true, encoding: 'utf8' })
  const pages = paths
    .filter((path) => /\.(tsx?|css)$/.test(path) && path !== 'vite.config.ts')
    .map((path) => ({ path, text: readFileSync(join(folder, path), 'utf8') }))
  /** From the bottom to the top, as the rooms of the packages. */
  const floors = [
    /^(wire|store|api|routes|reading)\.ts$/,
    /^live\.ts$/,
    /^parts\//,
    /^pages\//,
    /^shell\.tsx$/,
    /^main\.tsx$/,
  ]
  const floorOf = (path: string) => floors.findIndex((floor) => floor.test(path))
  const imported = (text: string) => [...withoutComments(text).matchAll(/\bfrom '([^']+)'|\bimport\(?\s*'([^']+)'/g)]

  test('use three packages, and nothing of the server: they know its HTTP API alone', () => {
    const mayUse = /^(preact(\/hooks)?|@preact\/signals|uplot(\/dist\/uPlot\.min\.css)?)$/
    const wrong = pages.flatMap(({ path, text }) =>
      imported(text).flatMap(([, from, bare]) => {
        const name = from ?? bare!
        const isWithin = name.startsWith('.') && !normalize(join(dirname(path), name)).startsWith('..')
        return isWithin || mayUse.test(name) ? [] : [`${path} imports ${name}`]
      }),
    )
    assert.deepEqual(wrong, [])
  })

  test('import in one direction', () => {
    const scripts = pages.filter(({ path }) => !path.endsWith('.css'))
    assert.deepEqual(
      scripts.filter(({ path }) => floorOf(path) === -1).map(({ path }) => path),
      [],
    )
    const wrong = scripts.flatMap(({ path, text }) =>
      imported(text).flatMap(([, from]) => {
        const to = from?.startsWith('.') ? normalize(join(dirname(path), from)) : path
        return floorOf(to) > floorOf(path) ? [`${path} imports ${to}`] : []
      }),
    )
    assert.deepEqual(wrong, [])
  })

  test('put nothing into the document as markup, and style nothing in it', () => {
    const wrong = pages.filter(({ text }) =>
      /dangerouslySetInnerHTML|innerHTML|insertAdjacentHTML|\bstyle="/.test(text),
    )
    assert.deepEqual(
      wrong.map(({ path }) => path),
      [],
    )
  })

  test('can be read in one sitting each', () => {
    const long = pages.filter(({ text }) => text.split('\n').length > 400)
    assert.deepEqual(
      long.map(({ path }) => path),
      [],
    )
  })
})

describe('files', () => {
  test('index re-exports and does nothing else', () => {
    const left = withoutComments(sources.get('tidings/index')!.text).replace(
      /^export (type )?\{[^}]*\} from '[^']+'$/gm,
      '',
    )
    assert.equal(left.trim(), '')
  })

  test('can be read in one sitting', () => {
    const long = [...sources.values()]
      // What is generated, and what is tests: lists of cases, each of which is read by itself.
      .filter(({ name }) => !name.endsWith('.gen') && !name.startsWith('testkit/cases/'))
      .filter(({ text }) => text.split('\n').length > 400)
      .map(({ name }) => name)
    assert.deepEqual(
      long.filter((name) => !toBeCut.includes(name)),
      [],
      'longer than 400 lines',
    )
    assert.deepEqual(
      toBeCut.filter((name) => !long.includes(name)),
      [],
      'short enough now: take it from the list',
    )
  })

  test('hold no leftovers', () => {
    // Examples in comments may print.
    const leftovers = [...sources.values()].flatMap(({ name, text }) =>
      [
        ...text.matchAll(/\b(TODO|FIXME|XXX)\b/g),
        ...withoutComments(text).matchAll(/\b(debugger|console\.log)\b/g),
      ].map(([word]) => `${name}: ${word}`),
    )
    assert.deepEqual(leftovers, [])
  })

  const page = join(root, 'docs', 'reference', 'errors.md')
  test('the page of errors lists exactly the codes of the table', () => {
    const codes = [...readFileSync(page, 'utf8').matchAll(/^\|\s*`([A-Z_]+)`/gm)].map(([, code]) => code)
    assert.deepEqual(codes.sort(), Object.keys(errorTable).sort())
  })
})
