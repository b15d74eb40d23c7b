// Who is measured. A peer's module says how it is used and how it is configured, and where that is written.

/** Loaded where needed: a process of one peer has no code of the others in it. */
const modules = {
  tidings: () => import('./peers/tidings.mjs'),
  'raw-sql': () => import('./peers/raw-sql.mjs'),
  'pg-boss': () => import('./peers/pg-boss.mjs'),
  'graphile-worker': () => import('./peers/graphile-worker.mjs'),
  'pgmq-js': () => import('./peers/pgmq-js.mjs'),
  bullmq: () => import('./peers/bullmq.mjs'),
  'raw-redis': () => import('./peers/raw-redis.mjs'),
}

export const loadPeer = async (key) => (await modules[key]()).peer

export const loadPeers = async () =>
  Object.fromEntries(await Promise.all(Object.keys(modules).map(async (key) => [key, await loadPeer(key)])))

/** By server: who is measured on it. */
export const competitors = {
  postgres: ['tidings', 'raw-sql', 'pg-boss', 'graphile-worker', 'pgmq-js', 'bullmq'],
  always: ['tidings', 'raw-redis', 'bullmq'],
  everysec: ['tidings', 'raw-redis', 'bullmq'],
}

/**
 * The contenders of a kind of work: a peer on a server with its default or its best configuration. Where both are the
 * same, there is one.
 * @param kind 'send', 'work', or 'flow' for sending and processing at once
 */
export function contendersOf(peers, kind, servers) {
  return servers.flatMap((server) =>
    competitors[server].flatMap((key) => {
      const { name, settings } = peers[key]
      const as = (variant, options) => {
        const id = [key, server, ...(variant === 'best' ? ['best'] : [])].join(':')
        return { id, title: titleOf(name, server, variant), key, server, variant, options }
      }
      const byDefault = settings.default[kind] ?? (kind === 'flow' ? settings.default.work : undefined) ?? {}
      const best = settings.best[kind] ?? (kind === 'flow' ? settings.best.work : undefined)
      return best ? [as('default', byDefault), as('best', best)] : [as('only', byDefault)]
    }),
  )
}

const places = { postgres: 'PostgreSQL', always: 'Redis, always', everysec: 'Redis, everysec' }

const titleOf = (name, server, variant) => `${name}, ${places[server]}${variant === 'best' ? ', best' : ''}`
