import type { Clock, Timer } from '../core/clock.ts'
import { isTidingsError, TidingsError } from '../core/errors.ts'
import type { Logger } from '../core/logger.ts'
import * as option from '../core/options.ts'
import { Service } from '../core/service.ts'
import type { Engine } from '../port/engine.ts'
import type { Resolve } from './addresses.ts'
import { type Alert, type AlertReport, Alerts } from './alerts.ts'
import { Expirer } from './expirer.ts'
import { Lead, leadQueue } from './leader-election.ts'
import { type SentinelOptions, type SentinelSettings, sentinelOptions } from './options.ts'
import { Pruner } from './pruner.ts'
import { type Breach, Rules, type WatchedQueue, type WatchedSubscription } from './rules.ts'
import { type LookSite, look, type Sight } from './snapshot.ts'
import { Stillness } from './stall-detector.ts'
import { Upkeep } from './upkeep.ts'
import { Webhook, type WebhookFigures } from './webhook.ts'

/** How often archives, and queues with messages that may have expired, are gone through. */
const tidyEveryMs = 60_000

export interface SentinelSite {
  readonly engine: Engine
  readonly clock: Clock
  readonly logger: Logger
  /** Where the dead letters of a queue go; null: into the archive. */
  deadLetterQueueOf(queue: string): string | null
  /** Tells the bus of a sentinel that starts, so that closing the bus stops it. @throws CLOSED */
  adopt(sentinel: Sentinel): void
  /** For tests of what name servers say. */
  readonly resolve?: Resolve
}

/** What a sentinel knows, for metrics. Of several sentinels only the active one watches. */
export interface SentinelFigures {
  readonly active: boolean
  readonly checks: number
  readonly failedChecks: number
  /** When the last check ended that did not fail. */
  readonly checkedAt: Date | null
  /** As the last check saw them: what a rule is about. */
  readonly queues: readonly WatchedQueue[]
  readonly subscriptions: readonly WatchedSubscription[]
  readonly alerts: readonly Alert[]
  /** Archived messages that this sentinel removed. */
  readonly pruned: number
  /** Messages that this sentinel ended since their time to live was over. */
  readonly expired: number
  readonly webhook: WebhookFigures | null
}

/** What is beyond its limit at one moment. */
export interface CheckResult extends Sight {
  readonly alerts: readonly Breach[]
}

/**
 * Watches queues and subscriptions by rules, reports what is beyond its limits to the log and to a webhook, prunes
 * archives and ends messages that have expired. Any number of processes may run one: one of them is active, and when it ends or is killed, another takes
 * over within ten seconds and raises again what is still wrong.
 */
export class Sentinel extends Service {
  readonly #settings: SentinelSettings
  readonly #site: SentinelSite
  readonly #lookSite: LookSite
  readonly #stillness: Stillness
  readonly #alerts: Alerts
  readonly #webhook: Webhook | null
  readonly #lead: Lead
  readonly #upkeep: Upkeep
  readonly #pruner: Pruner
  readonly #expirer: Expirer
  #timer: Timer | undefined
  #checking: Promise<void> = Promise.resolve()
  #tidying: Promise<unknown> | undefined
  #tidiedAt = Number.NEGATIVE_INFINITY
  #sight: Sight = nothing
  #checks = 0
  #failedChecks = 0
  #checkedAt: Date | null = null

  /** @throws UNSUPPORTED for rules about topics where there are none; TYPE, RANGE, URL_NOT_ALLOWED and the like */
  constructor(options: SentinelOptions | undefined, site: SentinelSite) {
    super()
    const settings = option.parseOptions(sentinelOptions, options, 'sentinel')
    const { engine, clock, logger, deadLetterQueueOf, resolve } = site
    const rules = new Rules(settings.rules)
    if (rules.watchTopics && engine.topics === undefined)
      throw new TidingsError('UNSUPPORTED', `a rule is about topics, but the ${engine.name} engine has none`, {
        details: { field: 'rules', feature: 'topics' },
      })
    this.#settings = settings
    this.#site = site
    this.#lookSite = { engine, rules, ownQueue: leadQueue, deadLetterQueueOf }
    this.#stillness = new Stillness(engine, clock)
    this.#alerts = new Alerts({ repeatMs: settings.repeat, resolveAfterMs: settings.resolveAfter })
    this.#webhook = settings.webhook && new Webhook(settings.webhook, { clock, logger, resolve })
    this.#lead = new Lead({ engine, clock, logger, taken: () => this.#begin(), lost: () => this.#pause() })
    this.#upkeep = new Upkeep(site)
    const mayGoOn = () => this.#isActive
    const { archives, expire } = settings
    this.#pruner = new Pruner({ engine, logger, archives, mayGoOn })
    this.#expirer = new Expirer({ engine, clock, logger, expire, deadLetterQueueOf, mayGoOn })
  }

  /**
   * Looks once, active or not, and reports nothing. Whether a queue is stalled takes two looks, so that is left out.
   */
  async check(): Promise<CheckResult> {
    const sight = await look(this.#lookSite)
    return { ...sight, alerts: this.#breachesIn(sight) }
  }

  figures(): SentinelFigures {
    return {
      active: this.#isActive,
      checks: this.#checks,
      failedChecks: this.#failedChecks,
      checkedAt: this.#checkedAt,
      ...this.#sight,
      alerts: this.#alerts.current,
      pruned: this.#pruner.pruned,
      expired: this.#expirer.expired,
      webhook: this.#webhook?.figures ?? null,
    }
  }

  /** @throws CONFIG_INVALID if the secret of the webhook cannot be read; CLOSED */
  protected override async onStart(): Promise<void> {
    this.#site.adopt(this)
    await this.#webhook?.start()
    await this.#upkeep.start()
    await this.#lead.start()
  }

  protected override async onStop(): Promise<void> {
    this.#timer?.cancel()
    await this.#checking
    await this.#tidying
    await Promise.all([this.#lead.stop(), this.#upkeep.stop(), this.#webhook?.stop()])
    this.#forget()
  }

  get #isActive(): boolean {
    return this.state === 'running' && this.#lead.held
  }

  #begin(): void {
    this.#site.logger.info({}, 'this sentinel is active')
    this.#arm(0)
  }

  #pause(): void {
    this.#site.logger.info({}, 'this sentinel is not active any more')
    this.#timer?.cancel()
    this.#forget()
  }

  /** What was seen before somebody else was active says nothing about now. */
  #forget(): void {
    this.#alerts.forget()
    this.#stillness.forget()
    this.#sight = nothing
  }

  #arm(milliseconds: number): void {
    this.#timer?.cancel()
    this.#timer = this.#site.clock.after(milliseconds, () => {
      this.#checking = this.#checking.then(() => this.#round())
    })
  }

  async #round(): Promise<void> {
    if (!this.#isActive) return
    this.#tidyUp()
    try {
      await this.#watch()
    } catch (error) {
      if (isTidingsError(error, 'CLOSED')) return
      this.#failedChecks++
      this.#site.logger.warn({ error }, 'the sentinel could not look; it is tried again later')
    }
    if (this.#isActive) this.#arm(this.#settings.every)
  }

  async #watch(): Promise<void> {
    const sight = await look({ ...this.#lookSite, stillness: this.#stillness })
    // Somebody else may be active by now, and has seen it as well.
    if (!this.#isActive) return
    const now = this.#site.clock.now()
    this.#sight = sight
    this.#checks++
    this.#checkedAt = new Date(now)
    this.#report(this.#alerts.update(this.#breachesIn(sight), now))
  }

  #breachesIn({ queues, subscriptions }: Sight): Breach[] {
    const { rules } = this.#lookSite
    return [
      ...queues.flatMap((queue) => rules.breachesOf(queue)),
      ...subscriptions.flatMap((subscription) => rules.breachesOfSubscription(subscription)),
    ]
  }

  #report(reports: readonly AlertReport[]): void {
    for (const report of reports) {
      const { state, message, ...rest } = report
      const level = state === 'resolved' ? 'info' : 'warn'
      this.#site.logger[level]({ alert: rest, state }, `${state}: ${message}`)
    }
    this.#webhook?.add(reports)
  }

  /** Beside the watching: a large archive takes its time. */
  #tidyUp(): void {
    const now = this.#site.clock.now()
    if (this.#tidying !== undefined || now - this.#tidiedAt < tidyEveryMs) return
    this.#tidiedAt = now
    const all = [
      this.#unlessItFails(this.#pruner.run(), 'archives could not be pruned'),
      this.#unlessItFails(this.#expirer.run(), 'expired messages could not be looked for'),
    ]
    this.#tidying = Promise.all(all).finally(() => {
      this.#tidying = undefined
    })
  }

  async #unlessItFails(work: Promise<void>, text: string): Promise<void> {
    try {
      await work
    } catch (error) {
      if (!isTidingsError(error, 'CLOSED')) this.#site.logger.warn({ error }, text)
    }
  }
}

const nothing: Sight = { queues: [], subscriptions: [] }
