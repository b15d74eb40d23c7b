import type { ConformanceCase } from '../group.ts'
import { archiving } from './archiving.ts'
import { cancelling } from './cancelling.ts'
import { claiming } from './claiming.ts'
import { concurrency } from './concurrency.ts'
import { correlation } from './correlation.ts'
import { dedup } from './dedup.ts'
import { delays } from './delays.ts'
import { disk } from './disk.ts'
import { durability } from './durability.ts'
import { extending } from './extending.ts'
import { historyDurability, historyReading, historyWriting } from './history.ts'
import { lifecycle } from './lifecycle.ts'
import { limits } from './limits.ts'
import { lives, topicLives } from './lives.ts'
import { moving } from './moving.ts'
import { ordering } from './ordering.ts'
import { peeking } from './peeking.ts'
import { priorities } from './priorities.ts'
import { processes } from './processes.ts'
import { pruning } from './pruning.ts'
import { queues } from './queues.ts'
import { readying } from './readying.ts'
import { receipts } from './receipts.ts'
import { releasing } from './releasing.ts'
import { replacing } from './replacing.ts'
import { routing } from './routing.ts'
import { routingRaces } from './routing-races.ts'
import { routingTransactions } from './routing-transactions.ts'
import { scheduleDurability, schedules } from './schedules.ts'
import { sending } from './sending.ts'
import { settings } from './settings.ts'
import { settling } from './settling.ts'
import { sharing } from './sharing.ts'
import { sizes } from './sizes.ts'
import { statistics } from './statistics.ts'
import { subscriptions } from './subscriptions.ts'
import { targets } from './targets.ts'
import { topicConsumers } from './topic-consumers.ts'
import { topicDurability } from './topic-durability.ts'
import { topicLifecycle } from './topic-lifecycle.ts'
import { topicLinks } from './topic-links.ts'
import { topicRetention } from './topic-retention.ts'
import { topicRouting } from './topic-routing.ts'
import { topicTakeovers } from './topic-takeovers.ts'
import { topicTransactions } from './topic-transactions.ts'
import { topicWatching } from './topic-watching.ts'
import { topics } from './topics.ts'
import { transactions } from './transactions.ts'
import { upkeep } from './upkeep.ts'
import { watching } from './watching.ts'

/** The contract of the port, rule by rule. */
export const allCases: readonly ConformanceCase[] = [
  queues,
  settings,
  sending,
  delays,
  claiming,
  receipts,
  settling,
  extending,
  releasing,
  moving,
  archiving,
  pruning,
  peeking,
  cancelling,
  readying,
  priorities,
  ordering,
  sharing,
  sizes,
  dedup,
  targets,
  replacing,
  limits,
  routing,
  routingRaces,
  routingTransactions,
  correlation,
  statistics,
  watching,
  lives,
  processes,
  transactions,
  topics,
  topicLinks,
  topicRouting,
  subscriptions,
  topicConsumers,
  topicTakeovers,
  topicRetention,
  topicWatching,
  topicLives,
  topicTransactions,
  topicLifecycle,
  durability,
  disk,
  topicDurability,
  schedules,
  scheduleDurability,
  historyReading,
  historyWriting,
  historyDurability,
  upkeep,
  lifecycle,
  concurrency,
].flat()
