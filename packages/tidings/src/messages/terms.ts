import type { SendTerms } from '../port/engine.ts'

/** What both ask for. */
export function stricter(one: SendTerms, other: SendTerms): SendTerms {
  const lengths = [one.maxLength, other.maxLength].filter((length) => length !== undefined)
  return {
    maxLength: lengths.length > 0 ? Math.min(...lengths) : undefined,
    durability: one.durability ?? other.durability,
  }
}
