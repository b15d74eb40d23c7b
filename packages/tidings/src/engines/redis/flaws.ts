export type Product = 'redis' | 'valkey'

interface Flaw {
  readonly ids: readonly string[]
  /** The first release line with the flaw. Default: all that are supported. */
  readonly since?: string
  /** The first release without the flaw, of each line that was mended. Later lines never had it. */
  readonly mended: Readonly<Record<Product, readonly string[]>>
}

/** Flaws by which a user with the rights of Tidings takes over the server, acts as another user or halts the server. */
const flaws: readonly Flaw[] = [
  {
    ids: ['CVE-2024-31228'],
    mended: { redis: ['7.2.6', '7.4.1'], valkey: ['7.2.7', '8.0.1'] },
  },
  {
    ids: ['CVE-2025-46817', 'CVE-2025-46818', 'CVE-2025-49844'],
    mended: { redis: ['7.2.11', '7.4.6', '8.0.4', '8.2.2'], valkey: ['7.2.11', '8.0.6', '8.1.4', '9.0.0'] },
  },
  {
    ids: ['CVE-2026-23479'],
    since: '7.2',
    // Valkey 8.0.8 was withdrawn.
    mended: { redis: ['7.2.14', '7.4.9', '8.2.6', '8.4.3', '8.6.3'], valkey: ['7.2.13', '8.0.9', '8.1.7', '9.0.4'] },
  },
]

/** The known ones that a version may have; distributions mend some without another number. */
export function flawsOf(product: Product, version: string): string[] {
  return flaws.filter((flaw) => has(flaw, product, version)).flatMap(({ ids }) => ids)
}

/** The first releases without any, by line. */
export function flawless(product: Product): string[] {
  const all = new Set(flaws.flatMap(({ mended }) => mended[product]))
  return [...all].filter((version) => flawsOf(product, version).length === 0)
}

function has({ since = '0', mended }: Flaw, product: Product, version: string): boolean {
  const versions = mended[product]
  const first = versions.find((each) => compare(each, version, 2) === 0)
  if (first) return compare(version, first, 3) < 0
  return compare(version, since, 2) >= 0 && compare(version, versions.at(-1)!, 2) < 0
}

/** Of so many of their numbers. */
function compare(a: string, b: string, count: number): number {
  const [left, right] = [a, b].map((text) => text.split('.').map(Number)) as [number[], number[]]
  for (let at = 0; at < count; at++) {
    const difference = (left[at] ?? 0) - (right[at] ?? 0)
    if (difference !== 0) return difference
  }
  return 0
}
