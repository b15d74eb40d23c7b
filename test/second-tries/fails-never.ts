import { test } from 'vitest'

test('that passes', () => {})
