import type { Bus } from 'tidings/internal/bus/bus'
import { readTokenFile } from '../auth/token-file.ts'
import { Tokens } from '../auth/tokens.ts'
import { makeDashboard } from './handler.ts'
import { type Dashboard, type DashboardOptions, parseDashboardOptions } from './options.ts'

/**
 * The pages that show queues, messages, topics and schedules of a bus, and act on them, as a handler to mount in the
 * application's own server. Nobody but this machine gets in without `authorize` or tokens.
 * @param bus stays the application's, who closes it after the dashboard
 * @throws CONFIG_INVALID, TYPE, OPTION_CONFLICT for options that are wrong
 * @example app.use('/tidings', dashboard(bus, { authorize: (request) => userOf(request) }).node)
 */
export function dashboard(bus: Bus, options: DashboardOptions = {}): Dashboard {
  const { logger, ...own } = options
  const settings = parseDashboardOptions(own)
  const { tokens, tokenFile } = settings
  const known = [...tokens, ...(tokenFile === null ? [] : readTokenFile(tokenFile))]
  return makeDashboard(bus, settings, { logger, tokens: new Tokens(known, tokenFile !== null || tokens.length > 0) })
}
