import type { OptionSchema } from 'tidings/internal/core/options'

export const calls: readonly (readonly [call: string, schema: OptionSchema, note?: string])[]
