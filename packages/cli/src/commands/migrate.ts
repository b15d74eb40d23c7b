import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
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
    'tidings migrate --adopt',
    'tidings migrate --hand-over',
    'tidings migrate --hand-over pgmq.sql',
    'tidings migrate --extension-files ./extension',
  )
    .option(
      '--down',
      'Puts the functions of this version in the place of newer ones, once the newer programs have stopped for good.',
    )
    .option(
      '--roles [prefix]',
      'Makes the roles <prefix>_owner, _admin, _producer, _consumer and _monitor ("tidings" if left out) and gives the owner all that is there.',
    )
    .option(
      '--adopt',
      'Makes a schema pgmq that is PGMQ itself, 1.5 or newer, one of Tidings, with its queues and messages.',
    )
    .option(
      '--hand-over [file]',
      'The other way: installs PGMQ, 1.10 or newer, in place of what Tidings has in the schema pgmq: its extension, or this SQL file.',
    )
    .option(
      '--extension-files <folder>',
      'Only writes the files by which a server offers all this as its extension pgmq, for the folder that `pg_config --sharedir` names, in it `extension`.',
    )
    .option('--dry-run', 'Only prints what would be done, with the SQL.')
    .action(
      withContext(async ({ flagValues, out, target }) => {
        const { extensionFiles, migrationsOf } = await import('tidings/internal/connect')
        if (flagValues.extensionFiles !== undefined) {
          const files = await writeFiles(String(flagValues.extensionFiles), await extensionFiles())
          return out.result({ files }, () => files.join('\n'))
        }
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
          const wish = await wishOf(flagValues)
          const plan = await (dryRun ? migrations.plan(wish) : migrations.apply(wish))
          out.result({ dryRun, ...plan }, () => (dryRun ? wouldDo(plan) : done(plan, wish)))
        } finally {
          await migrations.close()
        }
      }),
    )

async function wishOf(flagValues: Record<string, unknown>): Promise<MigrationWish> {
  const { down, roles, adopt, handOver } = flagValues
  const given = Object.entries({ '--down': down, '--roles': roles, '--adopt': adopt, '--hand-over': handOver })
    .filter(([, value]) => value !== undefined)
    .map(([name]) => name)
  if (given.length > 1)
    throw new TidingsError('USAGE', `${given.join(' and ')} cannot be together`, { hint: 'Run one after the other.' })
  if (adopt === true) return { adopt: true }
  if (handOver !== undefined) return { handOver: handOver === true ? true : await sqlOf(String(handOver)) }
  if (roles === undefined) return { down: down === true }
  const prefix = roles === true ? 'tidings' : String(roles)
  // Leaves room for the longest suffix within PostgreSQL's 63 bytes.
  if (!/^[a-z_][a-z0-9_]{0,50}$/.test(prefix) || prefix.startsWith('pg_'))
    throw new TidingsError('USAGE', `--roles is ${show(prefix)}, which cannot start the names of roles`, {
      hint: "Use 1 to 51 lower-case letters, digits and '_', not starting with a digit or pg_.",
    })
  return { roles: prefix }
}

async function writeFiles(folder: string, files: Record<string, string>): Promise<string[]> {
  await mkdir(folder, { recursive: true })
  const paths = Object.keys(files).map((name) => join(folder, name))
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text)
  return paths
}

async function sqlOf(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8')
  } catch (error) {
    throw new TidingsError('USAGE', `--hand-over is ${show(file)}, which cannot be read: ${show(error)}`)
  }
}

function done({ from, to, steps }: MigrationPlan, { roles, adopt, handOver }: MigrationWish): string {
  if (handOver !== undefined) return "the schema pgmq is PGMQ's own now, with all queues; Tidings is attached to it"
  if (adopt === true && steps.length > 0) return 'the schema pgmq is of Tidings now, with all queues'
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
