import type { Browser, BrowserContextOptions } from 'playwright-core'
import { type Bus, connect } from 'tidings'
import { type DashboardOptions, dashboard } from 'tidings-server'
import { afterAll, beforeAll, expect, onTestFinished } from 'vitest'
import { migratedDatabase } from '../postgres/support.ts'
import { launchChromium } from '../support/chromium.ts'
import { startRedis } from '../support/redis.ts'
import { sharedServer } from '../support/shared-servers.ts'
import { fillShop } from './data.ts'
import { closeServer, listen, urlOf } from './listening.ts'
import { Look } from './look.ts'

type StorageName = 'PostgreSQL' | 'Redis'

/** A storage of the file's own, since the overview shows all that is in it. */
const storages: Record<StorageName, () => Promise<{ url: string; stop(): Promise<void> }>> = {
  async PostgreSQL() {
    const { url, drop } = await migratedDatabase(await sharedServer('postgres18'))
    return { url, stop: drop }
  },
  Redis: () => startRedis({ appendfsync: 'no' }),
}

/** The dashboard of a shop's queues, and a browser that looks at it. */
export class Shop {
  readonly storage: StorageName
  bus!: Bus
  browser!: Browser
  /** Of the dashboard, with a slash at its end. */
  url!: string
  storageUrl!: string
  readonly #toClose: (() => Promise<unknown>)[] = []

  constructor(storage: StorageName) {
    this.storage = storage
  }

  async open(): Promise<void> {
    const [server, browser] = await Promise.all([storages[this.storage](), launchChromium()])
    this.#toClose.push(
      () => server.stop(),
      () => browser.close(),
    )
    this.browser = browser
    this.storageUrl = server.url
    this.bus = await connect(server.url)
    this.#toClose.push(() => this.bus.close())
    await fillShop(this.bus)
    this.url = await this.serve()
  }

  /** What was opened last goes first. */
  async close(): Promise<void> {
    for (const close of this.#toClose.reverse()) await close()
  }

  /** Serves a dashboard of the same bus. @returns its URL */
  async serve(options: DashboardOptions = {}): Promise<string> {
    const shown = dashboard(this.bus, options)
    const server = await listen(shown.node)
    this.#toClose.push(() => closeServer(server), shown.stop)
    return `${urlOf(server)}/tidings/`
  }

  /** A browser's window on the dashboard, closed when the test ends. What goes wrong in it fails the test. */
  async look(view = '', { url = this.url, ...options }: LookOptions = {}): Promise<Look> {
    const context = await this.browser.newContext({
      viewport: { width: 1280, height: 900 },
      locale: 'en-GB',
      timezoneId: 'UTC',
      ...options,
    })
    onTestFinished(() => context.close())
    const look = new Look(await context.newPage(), url)
    await look.watch(context)
    onTestFinished(() => expect(look.faults).toEqual([]))
    await look.go(view)
    return look
  }
}

export interface LookOptions extends BrowserContextOptions {
  readonly url?: string
}

/** One for all tests of a file. */
export function openShop(storage: StorageName = 'PostgreSQL'): Shop {
  const shop = new Shop(storage)
  beforeAll(() => shop.open())
  afterAll(() => shop.close())
  return shop
}
