import type { BrowserContext, Locator, Page } from 'playwright-core'
import { expect } from 'vitest'

/** Less than a test has, so that its message tells what did not come. */
const patienceMs = 45_000

/** Runs in the page, before all that is its own. */
const tellOfPolicy = `document.addEventListener('securitypolicyviolation', ({ violatedDirective, blockedURI }) =>
  console.error('policy: ' + violatedDirective + ' ' + blockedURI))`

/** A page of a browser, and what went wrong in it. */
export class Look {
  readonly page: Page
  /** Of the dashboard, with a slash at its end. */
  readonly url: string
  /** Scripts that failed, what the content security policy refused, requests that lead elsewhere or failed. */
  readonly faults: string[] = []
  /** Status codes that a test provokes. */
  readonly expected = new Set<number>()

  constructor(page: Page, url: string) {
    this.page = page
    this.url = url
  }

  /** @param context of the page, before it shows anything */
  async watch(context: BrowserContext): Promise<void> {
    const { page } = this
    context.setDefaultTimeout(patienceMs)
    page.on('pageerror', (error) => this.faults.push(`script: ${error.stack ?? error}`))
    page.on('console', (message) => {
      const isWrong = message.type() === 'error' || message.type() === 'warning'
      // The status is looked at below.
      const isStatus = message.text().startsWith('Failed to load resource: the server responded with')
      if (isWrong && !isStatus) this.faults.push(`${message.type()}: ${message.text()}`)
    })
    page.on('request', (request) => {
      const isElsewhere = !request.url().startsWith(this.url) && !request.url().startsWith('data:')
      if (isElsewhere) this.faults.push(`request to ${request.url().slice(0, 200)}`)
    })
    page.on('response', (response) => {
      const status = response.status()
      if (status >= 400 && !this.expected.has(status)) this.faults.push(`${status} of ${response.url()}`)
    })
    await context.addInitScript({ content: tellOfPolicy })
  }

  /** Goes to a view, `queues/orders` or so, and waits for its data. */
  async go(view: string): Promise<void> {
    await this.page.goto(`${this.url}#/${view}`)
    await this.loaded()
  }

  /** Waits for the data of a page. @param name what `data-page` of it is; any if left out */
  async loaded(name?: string): Promise<void> {
    await this.page.waitForSelector(`main[data-loaded]${name === undefined ? '' : `[data-page="${name}"]`}`)
  }

  /** Presses a button that opens a dialog, fills its fields, and presses its button. */
  async act(button: string, fields: Readonly<Record<string, string>>, verb: string): Promise<void> {
    await this.page.getByRole('button', { name: button, exact: true }).click()
    await this.fill(fields)
    await this.confirm(verb)
  }

  /** Fills fields of the open dialog. */
  async fill(fields: Readonly<Record<string, string>>): Promise<void> {
    for (const [label, value] of Object.entries(fields)) {
      const field = this.dialog.getByLabel(label, { exact: true })
      await field.waitFor()
      if ((await field.and(this.dialog.locator('select')).count()) > 0) await field.selectOption({ label: value })
      else await field.fill(value)
    }
  }

  /** Presses a button of the open dialog and waits until it is closed. */
  async confirm(verb: string): Promise<void> {
    await this.dialog.getByRole('button', { name: verb, exact: true }).click()
    await this.dialog.waitFor({ state: 'hidden' })
  }

  get dialog(): Locator {
    return this.page.getByRole('dialog')
  }
}

/** What can be read there, as soon as it is so: `await text(row).toMatch(/orders 120/)`. */
export const text = (where: Locator) =>
  // biome-ignore lint/performance/useDomNodeTextContent: what a person sees
  soon(async () => (await where.innerText({ timeout: 5_000 }).catch(() => '')).replaceAll(/\s+/g, ' ').trim())

/** What an answer becomes: `await soon(() => queue.stats()).toMatchObject({ ready: 0 })`. */
export const soon = <T>(ask: () => T | Promise<T>) => expect.poll(ask, { timeout: patienceMs, interval: 50 })
