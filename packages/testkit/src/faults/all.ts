import { archivingFaults } from './archiving.ts'
import { cancellingFaults } from './cancelling.ts'
import { claimingFaults } from './claiming.ts'
import { concurrencyFaults } from './concurrency.ts'
import { correlationFaults } from './correlation.ts'
import { dedupFaults } from './dedup.ts'
import { delayFaults } from './delays.ts'
import { diskFaults } from './disk.ts'
import { durabilityFaults } from './durability.ts'
import { extendingFaults } from './extending.ts'
import type { Fault } from './fault.ts'
import { lifecycleFaults } from './lifecycle.ts'
import { limitDurabilityFaults, limitFaults } from './limits.ts'
import { movingFaults } from './moving.ts'
import { orderingFaults } from './ordering.ts'
import { peekingFaults } from './peeking.ts'
import { priorityFaults } from './priorities.ts'
import { pruningFaults } from './pruning.ts'
import { queueFaults } from './queues.ts'
import { receiptFaults } from './receipts.ts'
import { releasingFaults } from './releasing.ts'
import { routingDurabilityFaults, routingFaults } from './routing.ts'
import { sendingFaults } from './sending.ts'
import { settlingFaults } from './settling.ts'
import { statisticsFaults } from './statistics.ts'
import { subscriptionFaults, topicConsumerFaults } from './subscriptions.ts'
import { targetFaults } from './targets.ts'
import { topicDurabilityFaults } from './topic-durability.ts'
import { topicLinkFaults, topicRoutingFaults } from './topic-links.ts'
import { topicRetentionFaults } from './topic-retention.ts'
import { topicTakeoverFaults } from './topic-takeovers.ts'
import { topicWatchingFaults } from './topic-watching.ts'
import { topicFaults, topicLifecycleFaults, topicTransactionFaults } from './topics.ts'
import { transactionFaults } from './transactions.ts'
import { upkeepFaults } from './upkeep.ts'
import { watchingFaults } from './watching.ts'

export const allFaults: readonly Fault[] = [
  queueFaults,
  sendingFaults,
  delayFaults,
  claimingFaults,
  receiptFaults,
  settlingFaults,
  extendingFaults,
  releasingFaults,
  movingFaults,
  archivingFaults,
  pruningFaults,
  peekingFaults,
  cancellingFaults,
  priorityFaults,
  orderingFaults,
  dedupFaults,
  targetFaults,
  limitFaults,
  routingFaults,
  correlationFaults,
  statisticsFaults,
  watchingFaults,
  transactionFaults,
  topicFaults,
  topicLinkFaults,
  topicRoutingFaults,
  subscriptionFaults,
  topicConsumerFaults,
  topicTakeoverFaults,
  topicRetentionFaults,
  topicWatchingFaults,
  topicTransactionFaults,
  topicLifecycleFaults,
  durabilityFaults,
  diskFaults,
  limitDurabilityFaults,
  routingDurabilityFaults,
  topicDurabilityFaults,
  upkeepFaults,
  lifecycleFaults,
  concurrencyFaults,
].flat()
