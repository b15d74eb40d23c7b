import { type Dated, dated } from '../core/dated.ts'
import type * as port from '../port/engine.ts'
import type * as stored from '../port/pause.ts'
import type * as settings from './settings.ts'

export interface Binding extends Dated<port.Binding> {}

/** Of all messages: what only estimates is for looks at many queues. */
export interface QueueStats extends Omit<Dated<port.QueueStats>, 'isEstimate'> {}

/** Why a queue hands out no messages. */
export interface Pause extends Dated<stored.Pause> {}

/** The figures of a queue. */
export interface QueueFigures extends QueueStats {
  /** Null: it hands out messages. */
  readonly pause: Pause | null
}

/** What the storage keeps for a queue; what is left out is not set. Durations are milliseconds. */
export interface QueueSettings extends Omit<settings.QueueSettings, 'pause'> {
  readonly pause?: Pause
}

export interface QueueInfo extends Omit<Dated<port.QueueInfo>, 'settings'> {
  /** Left out where there are none. */
  readonly settings?: QueueSettings
}

export const toQueueFigures = ({ pause, ...stats }: stored.QueueFigures): QueueFigures => ({
  ...dated(stats),
  pause: pause && dated(pause),
})

export const toQueueSettings = ({ pause, ...others }: settings.QueueSettings): QueueSettings => ({
  ...others,
  ...(pause ? { pause: dated(pause as stored.Pause) } : {}),
})

export const toQueueInfo = ({ settings, ...info }: port.QueueInfo): QueueInfo => ({
  ...dated(info),
  ...(settings ? { settings: toQueueSettings(settings) } : {}),
})
