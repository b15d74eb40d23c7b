import type { MigrationPlan } from 'tidings/internal/port/migrations'
import { command } from '../command.ts'
import { withContext } from '../context.ts'
import { count } from '../output.ts'

export const migrate = () =>
  command(
    'migrate',
    'Brings the schema of the storage up to date. Connecting does so, too, where the role may.',
    'tidings migrate --dry-run',
    'tidings migrate',
    'tidings migrate --down',
  )
    .option(
      '--down',
      'Puts the functions of this version in the place of newer ones, once the newer programs have stopped for good.',
    )
    .option('--dry-run', 'Only prints what would be done, with the SQL.')
    .action(
      withContext(async ({ given, out, target }) => {
        const { migrationsOf } = await import('tidings/internal/connect')
        const dryRun = given.dryRun === true
        const { url } = await target()
        const migrations = await migrationsOf(url)
        if (!migrations)
          return out.result(
            { dryRun, from: null, to: null, steps: [] },
            () => 'this storage has no schema: nothing to do',
          )
        await migrations.open()
        try {
          const wish = { down: given.down === true }
          const plan = await (dryRun ? migrations.plan(wish) : migrations.apply(wish))
          out.result({ dryRun, ...plan }, () => (dryRun ? wouldDo(plan) : done(plan)))
        } finally {
          await migrations.close()
        }
      }),
    )

function done({ from, to, steps }: MigrationPlan): string {
  if (steps.length === 0) return `up to date: version ${to}`
  if (from === 0) return `installed the schema: version ${to}`
  return from === to ? `replaced the functions of version ${to}` : `migrated the schema from version ${from} to ${to}`
}

/** SQL that psql takes, with what it is as comments. */
function wouldDo({ from, to, steps }: MigrationPlan): string {
  if (steps.length === 0) return `-- up to date: version ${to}`
  const what =
    from === 0
      ? `the schema is not installed; would install version ${to}`
      : from === to
        ? `would replace the functions of version ${to}`
        : `would migrate the schema from version ${from} to ${to}`
  const parts = steps.map(({ name, sql }) => `-- ${name}\n${sql.trimEnd().replace(/;?$/, ';')}`)
  return [`-- ${what}: ${count(steps.length, 'step')} in one transaction`, 'BEGIN;', ...parts, 'COMMIT;'].join('\n\n')
}
