import type { Finding } from '../../port/engine.ts'

export const notDurable: Finding = {
  level: 'warning',
  check: 'durability',
  message: 'messages are kept in memory and are lost when the process ends',
  remedy: 'Connect to PostgreSQL for anything that must not be lost.',
}
