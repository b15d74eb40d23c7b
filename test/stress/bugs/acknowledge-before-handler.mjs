// Loaded before an actor: a subscription acknowledges an offset, and then calls the handler.
import { Feed } from '../../../packages/tidings/dist/subscription/feed.js'

const { next } = Feed.prototype

Feed.prototype.next = async function () {
  const item = await next.call(this)
  item?.acker.done(item.stored.offset)
  await item?.acker.flush()
  return item
}
