import { shape } from './fields.ts'

export const moreField = {
  more: shape.flag('Whether the answer ends before the limit because it is large: ask on after the last message.'),
} as const
