import type { Option } from 'tidings/internal/core/options'

export function typeOf(option: Option<unknown, unknown>): string
