import { show, TidingsError } from 'tidings/internal/core/errors'
import type { MigrationPlan, MigrationWish } from 'tidings/internal/port/migrations'
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
    'tidings migrate --roles --dry-run',
  )
    .option(
      '--down',
      'Puts the functions of this version in the place of newer ones, once the newer programs have stopped for good.',
    )
    .option(
      '--roles [prefix]',
      'Makes the roles <prefix>_owner, _admin, _producer, _consumer and _monitor ("tidings" if left out) and gives the owner all that is there.',
    )
    .option('--dry-run', 'Only prints what would be done, with the SQL.')
    .action(
      withContext(async ({ flagValues, out, target }) => {
        const { migrationsOf } = await import('tidings/internal/connect')
        const dryRun = flagValues.dryRun === true
        const { url } = await target()
        const migrations = await migrationsOf(url)
        if (!migrations)
          return out.result(
            { dryRun, from: null, to: null, steps: [] },
            () => 'this storage has no schema: nothing to do',
          )
        await migrations.open()
        try {
          const wish = wishOf(flagValues)
          const plan = await (dryRun ? migrations.plan(wish) : migrations.apply(wish))
          out.result({ dryRun, ...plan }, () => (dryRun ? wouldDo(plan) : done(plan, wish)))
        } finally {
          await migrations.close()
        }
      }),
    )

function wishOf({ down, roles }: Record<string, unknown>): MigrationWish {
  if (down === true && roles !== undefined)
    throw new TidingsError('USAGE', '--down and --roles cannot be together', { hint: 'Run one after the other.' })
  if (roles === undefined) return { down: down === true }
  const prefix = roles === true ? 'tidings' : String(roles)
  // Leaves room for the longest suffix within PostgreSQL's 63 bytes.
  if (!/^[a-z_][a-z0-9_]{0,50}$/.test(prefix) || prefix.startsWith('pg_'))
    throw new TidingsError('USAGE', `--roles is ${show(prefix)}, which cannot start the names of roles`, {
      hint: "Use 1 to 51 lower-case letters, digits and '_', not starting with a digit or pg_.",
    })
  return { roles: prefix }
}

function done({ from, to, steps }: MigrationPlan, { roles }: MigrationWish): string {
  if (roles !== undefined)
    return `${roles}_owner owns all of it now; GRANT ${roles}_admin, ${roles}_producer, ${roles}_consumer or ${roles}_monitor to those who connect`
  if (steps.length === 0) return `up to date: version ${to}`
  if (from === 0) return `installed the schema: version ${to}`
  return from === to ? `replaced the functions of version ${to}` : `migrated the schema from version ${from} to ${to}`
}

/** SQL for psql, with descriptions as comments. */
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
