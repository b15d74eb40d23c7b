/** What tells programs and libraries of storages and tokens. */
const telling = /^(TIDINGS_(?!TEST_)|PGMQ_|PG[A-Z]|DATABASE_URL$|REDIS_URL$|LOG_LEVEL$)/

/** Takes out of this process's environment, and so out of those of its children, what would change what tests see. */
export function clearEnvironment(): void {
  for (const name of Object.keys(process.env)) if (telling.test(name)) delete process.env[name]
}
