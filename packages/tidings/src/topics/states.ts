import type { Dated } from '../core/dated.ts'
import type * as port from '../port/topic-store.ts'

export interface TopicInfo extends Dated<port.TopicInfo> {}

export interface SubscriptionState extends Dated<port.SubscriptionState> {}
