/** Values by key, each kept only while it is referenced elsewhere. */
export class WeakValues<K, V extends object> {
  readonly #references = new Map<K, WeakRef<V>>()
  readonly #collected = new FinalizationRegistry<K>((key) => {
    if (this.#references.get(key)?.deref() === undefined) this.#references.delete(key)
  })

  get(key: K, make: () => V): V {
    const known = this.#references.get(key)?.deref()
    if (known !== undefined) return known
    const value = make()
    this.#references.set(key, new WeakRef(value))
    this.#collected.register(value, key)
    return value
  }

  /** The values that are still referenced. */
  *values(): Generator<V> {
    for (const reference of this.#references.values()) {
      const value = reference.deref()
      if (value !== undefined) yield value
    }
  }
}
