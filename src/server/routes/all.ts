import type { Route } from '../route.ts'
import { queueRoutes } from './queues.ts'
import { sendingRoutes } from './sending.ts'

/** Every route that speaks of queues and topics. */
export const allRoutes: readonly Route[] = [...queueRoutes, ...sendingRoutes]
