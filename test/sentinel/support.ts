import { Bus } from 'tidings/internal/bus/bus'
import { FakeClock } from 'tidings/internal/core/fake-clock'
import type { Logger } from 'tidings/internal/core/logger'
import { MemoryEngine } from 'tidings/internal/engines/memory/memory'

export interface Said {
  readonly level: keyof Logger
  readonly details: Readonly<Record<string, unknown>>
  readonly message: string
}

/** A logger that keeps what it is told. */
export function listeningLogger(): { said: Said[]; logger: Logger } {
  const said: Said[] = []
  const keep = (level: keyof Logger) => (details: object, message: string) =>
    void said.push({ level, details: details as Said['details'], message })
  return { said, logger: { debug: keep('debug'), info: keep('info'), warn: keep('warn'), error: keep('error') } }
}

export function scene() {
  const clock = new FakeClock()
  const engine = new MemoryEngine({ clock })
  const { said, logger } = listeningLogger()
  return { clock, engine, said, logger, bus: new Bus(engine, { clock, logger }) }
}

/** What was said of alerts. */
export const alertsIn = (said: readonly Said[]) =>
  said.filter(({ details }) => 'alert' in details).map(({ message }) => message)
