import type { Route } from '../route.ts'
import { queueRoutes } from './queues.ts'
import { readingRoutes } from './reading.ts'
import { sendingRoutes } from './sending.ts'
import { settlingRoutes } from './settling.ts'

/** Every route that speaks of queues and topics. */
export const routes: readonly Route[] = [...queueRoutes, ...sendingRoutes, ...readingRoutes, ...settlingRoutes]
