import type { Route } from '../http/route.ts'
import { cancelRoutes } from './cancelling.ts'
import { deadLetterRoutes } from './dead-letters.ts'
import { eventRoutes } from './events.ts'
import { historyRoutes } from './history.ts'
import { messageRoutes } from './messages.ts'
import { overviewRoutes } from './overview.ts'
import { processRoutes } from './processes.ts'
import { queueRoutes } from './queues.ts'
import { readingRoutes } from './reading.ts'
import { routingRoutes } from './routing.ts'
import { scheduleRoutes } from './schedules.ts'
import { searchRoutes } from './searching.ts'
import { sendingRoutes } from './sending.ts'
import { settlingRoutes } from './settling.ts'
import { storageRoutes } from './storage.ts'
import { subscriptionRoutes } from './subscriptions.ts'
import { topicRoutes } from './topics.ts'
import { watchRoutes } from './watching.ts'

/** Every route that speaks of queues and topics. */
export const allRoutes: readonly Route[] = [
  ...queueRoutes,
  ...historyRoutes,
  ...sendingRoutes,
  ...readingRoutes,
  ...settlingRoutes,
  ...cancelRoutes,
  ...routingRoutes,
  ...messageRoutes,
  ...searchRoutes,
  ...overviewRoutes,
  ...deadLetterRoutes,
  ...topicRoutes,
  ...subscriptionRoutes,
  ...scheduleRoutes,
  ...watchRoutes,
  ...eventRoutes,
  ...processRoutes,
  ...storageRoutes,
]
