/** What is known of the names that were used last: older ones are forgotten, so that ever new names do not fill the memory. */
export class Recent<Value> {
  readonly #make: (name: string) => Value
  readonly #most: number
  /** In the order of their last use. */
  readonly #known = new Map<string, Value>()

  /** @param make what is known of a name at first */
  constructor(make: (name: string) => Value, most = 10_000) {
    this.#make = make
    this.#most = most
  }

  get(name: string): Value {
    const value = this.#known.get(name) ?? this.#make(name)
    this.#known.delete(name)
    this.#known.set(name, value)
    if (this.#known.size > this.#most) this.#known.delete(this.#known.keys().next().value as string)
    return value
  }

  forget(name: string): void {
    this.#known.delete(name)
  }

  values(): Iterable<Value> {
    return this.#known.values()
  }
}
