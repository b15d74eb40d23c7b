/** What the server answers where there may be much: it cuts off where the answer has become large. */
export interface WirePage<M> {
  readonly messages: M[]
  readonly more: boolean
}

/** @param read the next messages after `last` */
export async function readAll<M>(
  limit: number,
  read: (limit: number, last: M | undefined) => Promise<WirePage<M>>,
): Promise<M[]> {
  const all: M[] = []
  for (;;) {
    const { messages, more } = await read(limit - all.length, all.at(-1))
    all.push(...messages)
    if (!more) return all
  }
}
