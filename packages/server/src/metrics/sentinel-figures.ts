import { Counter, Gauge, type Registry } from 'prom-client'
import type { SentinelFigures } from 'tidings/internal/sentinel/sentinel'

/** What the sentinel in this process knows. Of several sentinels only the active one has alerts. */
export function exposeSentinel(figures: SentinelFigures, registry: Registry, mayRead: (name: string) => boolean): void {
  const registers = [registry]
  const count = (name: string, help: string, value: number) =>
    new Counter({ name: `tidings_sentinel_${name}_total`, help, registers }).inc(value)
  new Gauge({ name: 'tidings_sentinel_active', help: 'Whether it is the one that watches.', registers }).set(
    figures.active ? 1 : 0,
  )
  count('checks', 'Looks at all that is watched.', figures.checks)
  count('failed_checks', 'Looks that failed.', figures.failedChecks)
  count('pruned_messages', 'Archived messages that it removed.', figures.pruned)
  const alerts = new Gauge({
    name: 'tidings_alert',
    help: 'What is beyond its limit now: its value, a number or milliseconds.',
    labelNames: ['limit', 'queue', 'topic', 'subscription'] as const,
    registers,
  })
  for (const { limit, queue, topic, subscription, value } of figures.alerts)
    if (mayRead(queue ?? topic ?? ''))
      alerts.set({ limit, queue: queue ?? '', topic: topic ?? '', subscription: subscription ?? '' }, value)
}
