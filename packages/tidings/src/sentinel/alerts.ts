import { aboutEnd, type Breach } from './rules.ts'

/** A figure that is beyond its limit. Times are those of the sentinel's clock. */
export interface Alert extends Breach {
  /** When the breach was first seen. */
  readonly since: Date
}

/** One report of an alert: when it is raised, after each `repeat`, and when it is over. */
export interface AlertReport extends Alert {
  readonly state: 'raised' | 'repeated' | 'resolved'
  readonly at: Date
}

interface Standing {
  alert: Alert
  reportedAt: number
  /** Since when the figure is within its limit; null while it is not. */
  wellSince: number | null
}

/** The current alerts, and the reports that follow from new breaches. */
export class Alerts {
  readonly #repeatMs: number
  readonly #resolveAfterMs: number
  readonly #standing = new Map<string, Standing>()

  constructor({ repeatMs, resolveAfterMs }: { repeatMs: number; resolveAfterMs: number }) {
    this.#repeatMs = repeatMs
    this.#resolveAfterMs = resolveAfterMs
  }

  get current(): Alert[] {
    return [...this.#standing.values()].map(({ alert }) => alert)
  }

  /** @param breaches all current breaches */
  update(breaches: readonly Breach[], now: number): AlertReport[] {
    const reports: AlertReport[] = []
    const report = (state: AlertReport['state'], standing: Standing) => {
      standing.reportedAt = now
      reports.push({ ...standing.alert, state, at: new Date(now) })
    }
    const seen = new Set<string>()
    for (const breach of breaches) {
      const key = JSON.stringify([breach.limit, breach.queue, breach.topic, breach.subscription])
      seen.add(key)
      const standing = this.#standing.get(key)
      if (standing === undefined) {
        const raised = { alert: { ...breach, since: new Date(now) }, reportedAt: now, wellSince: null }
        this.#standing.set(key, raised)
        report('raised', raised)
        continue
      }
      standing.alert = { ...breach, since: standing.alert.since }
      standing.wellSince = null
      if (now - standing.reportedAt >= this.#repeatMs) report('repeated', standing)
    }
    for (const [key, standing] of this.#standing) {
      if (seen.has(key)) continue
      standing.wellSince ??= now
      if (now - standing.wellSince < this.#resolveAfterMs) continue
      this.#standing.delete(key)
      standing.alert = { ...standing.alert, message: aboutEnd(standing.alert) }
      report('resolved', standing)
    }
    return reports
  }

  forget(): void {
    this.#standing.clear()
  }
}
