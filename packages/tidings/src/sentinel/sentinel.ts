import type { Timer } from '../core/clock.ts'
import { isTidingsError, TidingsError } from '../core/errors.ts'
import { loggable } from '../core/message-error.ts'
import * as option from '../core/options.ts'
import { Service } from '../core/service.ts'
import type { Resolve } from './addresses.ts'
import { type Alert, type AlertReport, Alerts } from './alerts.ts'
import { Expirer } from './expirer.ts'
import { LeaderElection } from './leader-election.ts'
import { type SentinelOptions, type SentinelSettings, sentinelOptions } from './options.ts'
import { Pruner } from './pruner.ts'
import { type Breach, Rules, type WatchedQueue, type WatchedSubscription } from './rules.ts'
import { type DeadLetterQueueOf, type Snapshot, type SnapshotDependencies, takeSnapshot } from './snapshot.ts'
import { StallDetector } from './stall-detector.ts'
import { Upkeep, type UpkeepDependencies } from './upkeep.ts'
import { Webhook, type WebhookFigures } from './webhook.ts'

/** How often archives are pruned and expired messages ended. */
const tidyEveryMs = 60_000

export interface SentinelDependencies extends UpkeepDependencies {
  /** The dead-letter queue of a queue; null for the archive. */
  readonly deadLetterQueueOf: DeadLetterQueueOf
  /** Registers a starting sentinel with the bus, so that closing the bus stops it. @throws CLOSED */
  adopt(sentinel: Sentinel): void
  /** Replaces the name server in tests. */
  readonly resolve?: Resolve
}

/** The figures of a sentinel, for metrics. Of several sentinels only the active one watches. */
export interface SentinelFigures {
  readonly active: boolean
  readonly checks: number
  readonly failedChecks: number
  /** When the last successful check ended. */
  readonly checkedAt: Date | null
  /** The queues with a rule, as of the last check. */
  readonly queues: readonly WatchedQueue[]
  readonly subscriptions: readonly WatchedSubscription[]
  readonly alerts: readonly Alert[]
  /** Archived messages that this sentinel removed. */
  readonly pruned: number
  /** Expired messages that this sentinel ended. */
  readonly expired: number
  readonly webhook: WebhookFigures | null
}

/** A snapshot, with the breaches in it. */
export interface CheckResult extends Snapshot {
  readonly alerts: readonly Breach[]
}

/**
 * Watches queues and subscriptions by rules, reports breaches to the log and to a webhook, prunes archives and ends expired
 * messages. Any number of processes may run a sentinel, and one of them is active. When the active one ends or is killed,
 * another takes over within ten seconds and raises the alerts that still hold.
 */
export class Sentinel extends Service {
  readonly #settings: SentinelSettings
  readonly #dependencies: SentinelDependencies
  readonly #snapshotDependencies: SnapshotDependencies
  readonly #stallDetector: StallDetector
  readonly #alerts: Alerts
  readonly #webhook: Webhook | null
  readonly #leaderElection: LeaderElection
  readonly #upkeep: Upkeep
  readonly #pruner: Pruner
  readonly #expirer: Expirer
  #timer: Timer | undefined
  #checking: Promise<void> = Promise.resolve()
  #tidying: Promise<unknown> | undefined
  #tidiedAt = Number.NEGATIVE_INFINITY
  #snapshot: Snapshot = nothing
  #checks = 0
  #failedChecks = 0
  #checkedAt: Date | null = null

  /** @throws UNSUPPORTED for rules about topics on an engine without topics; TYPE, RANGE, URL_NOT_ALLOWED and the like */
  constructor(options: SentinelOptions | undefined, dependencies: SentinelDependencies) {
    super()
    const settings = option.parseOptions(sentinelOptions, options, 'sentinel')
    const { engine, clock, logger, deadLetterQueueOf, resolve } = dependencies
    const rules = new Rules(settings.rules)
    if (rules.watchTopics && engine.topics === undefined)
      throw new TidingsError('UNSUPPORTED', `a rule is about topics, but the ${engine.name} engine has none`, {
        details: { field: 'rules', feature: 'topics' },
      })
    this.#settings = settings
    this.#dependencies = dependencies
    this.#snapshotDependencies = { engine, clock, rules, deadLetterQueueOf }
    this.#stallDetector = new StallDetector(engine, clock)
    this.#alerts = new Alerts({ repeatMs: settings.repeat, resolveAfterMs: settings.resolveAfter })
    this.#webhook = settings.webhook && new Webhook(settings.webhook, { clock, logger, resolve })
    this.#leaderElection = new LeaderElection({
      engine,
      clock,
      logger,
      taken: () => this.#begin(),
      lost: () => this.#pause(),
    })
    this.#upkeep = new Upkeep(dependencies)
    const mayGoOn = () => this.#isActive
    const { archives, expire } = settings
    this.#pruner = new Pruner({ engine, logger, archives, mayGoOn })
    this.#expirer = new Expirer({ engine, clock, logger, expire, deadLetterQueueOf, mayGoOn })
  }

  /**
   * Checks once, active or not, and reports nothing. Stalls are left out: they need two checks.
   * @example const { alerts } = await bus.sentinel().check()
   */
  async check(): Promise<CheckResult> {
    const snapshot = await takeSnapshot(this.#snapshotDependencies)
    return { ...snapshot, alerts: this.#breachesIn(snapshot) }
  }

  /** @example const { active, checks } = bus.sentinel().figures() */
  figures(): SentinelFigures {
    return {
      active: this.#isActive,
      checks: this.#checks,
      failedChecks: this.#failedChecks,
      checkedAt: this.#checkedAt,
      ...this.#snapshot,
      alerts: this.#alerts.current,
      pruned: this.#pruner.pruned,
      expired: this.#expirer.expired,
      webhook: this.#webhook?.figures ?? null,
    }
  }

  /** @throws CONFIG_INVALID if the secret of the webhook cannot be read; CLOSED */
  protected override async onStart(): Promise<void> {
    this.#dependencies.adopt(this)
    await this.#webhook?.start()
    await this.#upkeep.start()
    await this.#leaderElection.start()
  }

  protected override async onStop(): Promise<void> {
    this.#timer?.cancel()
    await this.#checking
    await this.#tidying
    await Promise.all([this.#leaderElection.stop(), this.#upkeep.stop(), this.#webhook?.stop()])
    this.#forget()
  }

  get #isActive(): boolean {
    return this.state === 'running' && this.#leaderElection.held
  }

  #begin(): void {
    this.#dependencies.logger.info({}, 'this sentinel is active')
    this.#arm(0)
  }

  #pause(): void {
    this.#dependencies.logger.info({}, 'this sentinel is not active any more')
    this.#timer?.cancel()
    this.#forget()
  }

  /** Forgets everything seen: another sentinel may be active in between. */
  #forget(): void {
    this.#alerts.forget()
    this.#stallDetector.forget()
    this.#snapshot = nothing
  }

  #arm(milliseconds: number): void {
    this.#timer?.cancel()
    this.#timer = this.#dependencies.clock.after(milliseconds, () => {
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
      this.#dependencies.logger.warn({ err: loggable(error) }, 'the sentinel could not look; it is tried again later')
    }
    if (this.#isActive) this.#arm(this.#settings.every)
  }

  async #watch(): Promise<void> {
    const snapshot = await takeSnapshot({ ...this.#snapshotDependencies, stallDetector: this.#stallDetector })
    // Another sentinel may be active by now, and reports the same.
    if (!this.#isActive) return
    const now = this.#dependencies.clock.now()
    this.#snapshot = snapshot
    this.#checks++
    this.#checkedAt = new Date(now)
    this.#report(this.#alerts.update(this.#breachesIn(snapshot), now))
  }

  #breachesIn({ queues, subscriptions }: Snapshot): Breach[] {
    const { rules } = this.#snapshotDependencies
    return [
      ...queues.flatMap((queue) => rules.breachesOf(queue)),
      ...subscriptions.flatMap((subscription) => rules.breachesOfSubscription(subscription)),
    ]
  }

  #report(reports: readonly AlertReport[]): void {
    for (const report of reports) {
      const { state, message, ...rest } = report
      const level = state === 'resolved' ? 'info' : 'warn'
      this.#dependencies.logger[level]({ alert: rest, state }, `${state}: ${message}`)
    }
    this.#webhook?.add(reports)
  }

  /** Runs beside the watching, because a large archive takes long. */
  #tidyUp(): void {
    const now = this.#dependencies.clock.now()
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
      if (!isTidingsError(error, 'CLOSED')) this.#dependencies.logger.warn({ err: loggable(error) }, text)
    }
  }
}

const nothing: Snapshot = { queues: [], subscriptions: [] }
