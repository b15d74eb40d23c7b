import { execFile } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { parse } from 'yaml'
import { ask } from '../server/support.ts'
import { unpackDebian } from '../support/debian.ts'
import { startHttpServer, type TestHttpServer } from '../support/http-server.ts'

const execute = promisify(execFile)
const folder = fileURLToPath(new URL('../../deploy/monitoring', import.meta.url))
const read = (name: string) => readFileSync(join(folder, name), 'utf8')

interface Panel {
  readonly id: number
  readonly title: string
  readonly targets?: readonly { readonly expr: string }[]
}

const board: {
  readonly panels: readonly Panel[]
  readonly templating: { readonly list: readonly { readonly name: string; readonly query: { query?: string } }[] }
} = JSON.parse(read('grafana.json'))
const rules: readonly { alert: string; expr: string }[] = parse(read('alerts.yml')).groups[0].rules

/** Queries as Prometheus gets them from Grafana. */
const filled = (query: string) =>
  query.replaceAll('$__rate_interval', '5m').replaceAll('$job', 'tidings').replaceAll('$queue', '.*')

const queries: readonly (readonly [where: string, query: string])[] = [
  ...board.panels.flatMap(({ title, targets = [] }) => targets.map(({ expr }) => [title, filled(expr)] as const)),
  ...rules.map(({ alert, expr }) => [alert, expr] as const),
]

/** Labels that Prometheus adds to everything. */
const ofPrometheus = ['job', 'instance']

/** Each metric of /metrics with its labels. */
function metricsIn(text: string): Map<string, Set<string>> {
  const metrics = new Map<string, Set<string>>([['up', new Set()]])
  for (const [, name, labels = ''] of text.matchAll(/^(\w+)(?:\{(.*)\})? \S+$/gm)) {
    const known = metrics.get(name!) ?? new Set()
    for (const [, label] of labels.matchAll(/(\w+)="(?:[^"\\]|\\.)*"/g)) known.add(label!)
    metrics.set(name!, known)
  }
  return metrics
}

const grouping = /\b(?:by|without|ignoring|on|group_left|group_right)\s*\(([^)]*)\)/g
const words = new Set(['and', 'or', 'unless', 'bool', 'offset'])

/** The metrics that a query names, and the labels: those of its matchers with their metric, and those that it groups by. */
function namesIn(query: string) {
  const grouped = [...query.matchAll(grouping)].flatMap(([, labels]) => labels!.split(',').map((label) => label.trim()))
  const bare = query.replaceAll(grouping, ' ')
  const matched = [...bare.matchAll(/(\w+)\{([^}]*)\}/g)].map(([, metric, matchers]) => ({
    metric: metric!,
    labels: [...matchers!.matchAll(/(\w+)\s*(?:=~|!=|!~|=)/g)].map(([, label]) => label!),
  }))
  const metrics = [...bare.replaceAll(/\{[^}]*\}|\[[^\]]*\]|"[^"]*"/g, ' ').matchAll(/[a-z_][\w:]*(?!\w|\s*\()/gi)]
    .map(([word]) => word)
    .filter((word) => !words.has(word))
  return { metrics, matched, grouped: grouped.filter((label) => label !== '') }
}

const work = mkdtempSync(join(tmpdir(), 'tidings-monitoring-'))
afterAll(() => rmSync(work, { recursive: true }))

describe('what the board and the alerts ask for', () => {
  let server: TestHttpServer
  let metrics: Map<string, Set<string>>
  beforeAll(async () => {
    const config = join(work, 'tidings.config.json')
    const rules = [{ queues: 'orders', maxReady: 0 }]
    writeFileSync(config, JSON.stringify({ sentinel: { every: '1s', rules } }))
    server = await startHttpServer('memory:', '--sentinel', '--config', config)
    await ask(server, 'PUT', '/v1/queues/orders')
    for (const message of [1, 2]) await ask(server, 'POST', '/v1/queues/orders/messages', { body: { message } })
    await ask(server, 'POST', '/v1/queues/orders/read', { body: {} })
    await ask(server, 'POST', '/v1/queues/nowhere/messages', { body: { message: 1 } })
    await ask(server, 'PUT', '/v1/topics/news', { body: {} })
    await ask(server, 'PUT', '/v1/topics/news/subscriptions/readers', { body: {} })
    metrics = await vi.waitUntil(
      async () => {
        const found = metricsIn((await ask(server, 'GET', '/metrics')).body)
        return found.has('tidings_alert') ? found : undefined
      },
      { timeout: 60_000, interval: 200 },
    )
  })
  afterAll(() => server.stop())

  test.each(queries)('%s: %s', (_, query) => {
    const { metrics: named, matched, grouped } = namesIn(query)
    expect(named.length).toBeGreaterThan(0)
    expect(named.filter((name) => !metrics.has(name))).toEqual([])
    for (const { metric, labels } of matched) {
      const known = [...(metrics.get(metric) ?? []), ...ofPrometheus]
      expect(
        labels.filter((label) => !known.includes(label)),
        metric,
      ).toEqual([])
    }
    const known = [...named.flatMap((name) => [...metrics.get(name)!]), ...ofPrometheus]
    expect(grouped.filter((label) => !known.includes(label))).toEqual([])
  })

  test('the board asks for all that the server tells of the storage', () => {
    const asked = new Set(queries.flatMap(([, query]) => namesIn(query).metrics))
    const told = [...metrics.keys()].filter((name) => /^tidings_/.test(name))
    const left = ['tidings_sentinel_checks_total', 'tidings_sentinel_pruned_messages_total']
    expect(told.filter((name) => !asked.has(name)).sort()).toEqual(left)
  })

  test('the variables of the board ask for metrics that are there', () => {
    const asked = board.templating.list.flatMap(({ query }) => /label_values\((\w+)/.exec(query.query ?? '')?.[1] ?? [])
    expect(asked).toEqual(['tidings_storage_up', 'tidings_queue_messages'])
    for (const name of asked) expect(metrics.has(name)).toBe(true)
  })

  test('the panels of the board have ids of their own', () => {
    const ids = board.panels.map(({ id }) => id)
    expect(new Set(ids).size).toBe(ids.length)
  })
})

describe('promtool', () => {
  let promtool: (...args: string[]) => Promise<string>
  beforeAll(async () => {
    const { root, libraryPath } = await unpackDebian(['prometheus'], 'usr/bin/promtool')
    cpSync(folder, work, { recursive: true })
    promtool = async (...args) => {
      const env = { PATH: process.env.PATH, LD_LIBRARY_PATH: libraryPath }
      const ended = await execute(join(root, 'usr/bin/promtool'), args, { cwd: work, env }).catch((error) => error)
      return `${ended.stdout}${ended.stderr}`
    }
  })

  test('finds nothing in the rules and the configuration', async () => {
    expect(await promtool('check', 'rules', 'alerts.yml')).toContain(`SUCCESS: ${rules.length} rules found`)
    const found = await promtool('check', 'config', 'prometheus.yml')
    expect(found).toContain('SUCCESS: prometheus.yml is valid prometheus config file syntax')
    expect(found).not.toContain('FAILED')
  })

  test('takes every query of the board', async () => {
    const recorded = queries.map(([, expr], index) => ({ record: `query:${index}`, expr }))
    writeFileSync(join(work, 'board.yml'), JSON.stringify({ groups: [{ name: 'board', rules: recorded }] }))
    expect(await promtool('check', 'rules', 'board.yml')).toContain(`SUCCESS: ${queries.length} rules found`)
  })

  test('each alert fires by what it is for, none where all is well', async () => {
    cpSync(fileURLToPath(new URL('alerts.test.yml', import.meta.url)), join(work, 'alerts.test.yml'))
    expect(await promtool('test', 'rules', 'alerts.test.yml')).toMatch(/^Unit Testing: .*\n {2}SUCCESS\s*$/)
  })
})
