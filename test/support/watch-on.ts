import { systemClock } from 'tidings/internal/core/clock'
import { silentLogger } from 'tidings/internal/core/logger'
import type { Engine } from 'tidings/internal/port/engine'
import type { Interest } from 'tidings/internal/port/listening'
import { Wakeups, type Watch } from 'tidings/internal/port/wakeups'

/** A watch on an engine without a bus; it goes on through interruptions. */
export const watchOn = (engine: Engine, interest: Interest, woken: (dueMs: number) => void): Promise<Watch> =>
  new Wakeups({ engine, clock: systemClock, logger: silentLogger }).watch(interest, woken)
