interface Node<V> {
  readonly next: Map<string, Node<V>>
  readonly values: V[]
}

const newNode = <V>(): Node<V> => ({ next: new Map(), values: [] })

/**
 * Values by pattern, found by routing key. A tree of segments: the cost of a lookup depends on the key's segments, not on
 * the number of patterns. Finds the same patterns as `matches`.
 */
export class PatternIndex<V> {
  readonly #root: Node<V> = newNode()

  constructor(entries: Iterable<readonly [pattern: string, value: V]>) {
    for (const [pattern, value] of entries) this.#add(pattern, value)
  }

  #add(pattern: string, value: V): void {
    let node = this.#root
    for (const segment of pattern.split('.')) {
      const next: Node<V> = node.next.get(segment) ?? newNode()
      node.next.set(segment, next)
      node = next
    }
    node.values.push(value)
  }

  /** Each value once, in no order. */
  find(key: string): Set<V> {
    const segments = key.split('.')
    const found = new Set<V>()
    // Several ways through '#' lead to the same node.
    const seen = segments.map(() => new Set<Node<V>>()).concat(new Set<Node<V>>())
    const walk = (node: Node<V> | undefined, at: number): void => {
      if (node === undefined || seen[at]!.has(node)) return
      seen[at]!.add(node)
      const hash = node.next.get('#')
      if (hash !== undefined) for (let end = at; end <= segments.length; end++) walk(hash, end)
      if (at === segments.length) for (const value of node.values) found.add(value)
      else {
        walk(node.next.get(segments[at]!), at + 1)
        walk(node.next.get('*'), at + 1)
      }
    }
    walk(this.#root, 0)
    return found
  }
}
