/** Values by name, for the names used last. Older names are forgotten, so that ever new names do not fill the memory. */
export class Recent<Value> {
  readonly #make: (name: string) => Value
  readonly #maxNames: number
  /** In the order of their last use. */
  readonly #known = new Map<string, Value>()

  /** @param make the first value of a name */
  constructor(make: (name: string) => Value, maxNames = 10_000) {
    this.#make = make
    this.#maxNames = maxNames
  }

  get(name: string): Value {
    const value = this.#known.get(name) ?? this.#make(name)
    this.#known.delete(name)
    this.#known.set(name, value)
    if (this.#known.size > this.#maxNames) this.#known.delete(this.#known.keys().next().value as string)
    return value
  }

  forget(name: string): void {
    this.#known.delete(name)
  }

  values(): Iterable<Value> {
    return this.#known.values()
  }
}
