type Follower = (offset: number) => void

/** Tells streams of a subscription how far its messages were acknowledged through this server. */
export class AckBoard {
  readonly #followers = new Map<string, Set<Follower>>()

  acked(topic: string, subscription: string, offset: number): void {
    for (const follower of this.#followers.get(keyOf(topic, subscription)) ?? []) follower(offset)
  }

  /** @returns what ends the following */
  follow(topic: string, subscription: string, follower: Follower): () => void {
    const key = keyOf(topic, subscription)
    const followers = this.#followers.get(key) ?? new Set()
    this.#followers.set(key, followers.add(follower))
    return () => {
      followers.delete(follower)
      if (followers.size === 0 && this.#followers.get(key) === followers) this.#followers.delete(key)
    }
  }
}

/** Names have no slash. */
const keyOf = (topic: string, subscription: string) => `${topic}/${subscription}`
