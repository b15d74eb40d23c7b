import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Option } from 'commander'
import { TidingsError } from 'tidings/internal/core/errors'
import { eventsMigrationOptions } from 'tidings/internal/events/migration'
import { command } from '../command.ts'
import { withContext } from '../context.ts'
import { Flags } from '../flags.ts'

const flags = new Flags(eventsMigrationOptions)

export const generateMigration = () =>
  flags
    .addTo(
      command(
        'generate-migration',
        'Writes the SQL by which queues announce their messages (`tidings events`), and the SQL that undoes it.',
        'tidings generate-migration',
        "tidings generate-migration --queue-pattern 'app_(?<namespace>\\w+)' --channel-prefix app",
      )
        .option(
          '--output-dir <folder>',
          'Where the two files go. Behind files that are there from before, new ones hold only what they change.',
          'migrations',
        )
        .option('--name <name>', 'What the names of the files end with.', 'add_queue_events')
        .option('--single-file', 'Writes one file, with the SQL that undoes it as comments at its end.')
        .addOption(
          new Option('--include-rollback <boolean>', 'Whether the SQL that undoes it is written, too.')
            .choices(['true', 'false'])
            .default('true'),
        ),
    )
    .action(
      withContext(async ({ flagValues, out, config }) => {
        const { events } = (await config()).config
        const options = { ...events, ...flags.read(flagValues) }
        const folder = String(flagValues.outputDir)
        const name = checkName(String(flagValues.name))
        const { eventsMigrationAfter } = await import('tidings/internal/connect')
        const migration = await eventsMigrationAfter(await earlierIn(folder), options)
        if (migration === null)
          return out.result(
            { up: null, down: null, changes: [] },
            () => `${folder} has it already: nothing is to be changed`,
          )
        const { changes } = migration
        const start = join(folder, `${timestamp(new Date())}_${name}`)
        const down = flagValues.includeRollback === 'true' ? migration.down : null
        const files = flagValues.singleFile ? oneFile(start, migration.up, down) : twoFiles(start, migration.up, down)
        await writeAll(files)
        const paths = files.map(([path]) => path)
        const what = changes.length > 0 ? `\nchanges what was generated before: ${changes.join(', ')}` : ''
        out.result({ up: paths[0], down: paths[1] ?? null, changes }, () =>
          [...paths.map((path) => `wrote ${path}`), what].join('\n').trimEnd(),
        )
      }),
    )

type File = readonly [path: string, text: string]

const twoFiles = (start: string, up: string, down: string | null): File[] => [
  [`${start}.up.sql`, up],
  ...(down === null ? [] : [[`${start}.down.sql`, down] as const]),
]

/** As comments, so that the file can be applied as it is. */
function oneFile(start: string, up: string, down: string | null): File[] {
  const undo = down === null ? '' : `\n-- DOWN: what undoes it.\n${down.trimEnd().replaceAll(/^/gm, '-- ')}\n`
  return [[`${start}.sql`, `-- UP\n${up}${undo}`]]
}

/** The files of the folder that lead forward, in the order of their names. */
async function earlierIn(folder: string): Promise<string[]> {
  try {
    const names = (await readdir(folder)).filter((name) => /(?<!\.down)\.sql$/.test(name)).sort()
    return await Promise.all(names.map((name) => readFile(join(folder, name), 'utf8')))
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw new TidingsError('USAGE', `cannot read the migrations of '${folder}': ${(cause as Error).message}`, { cause })
  }
}

/** Writes all files or none, and overwrites nothing. */
async function writeAll(files: readonly File[]): Promise<void> {
  const written: string[] = []
  try {
    for (const [path, text] of files) {
      await mkdir(join(path, '..'), { recursive: true })
      await writeFile(path, text, { flag: 'wx' })
      written.push(path)
    }
  } catch (cause) {
    for (const path of written) await rm(path, { force: true })
    throw new TidingsError('USAGE', `cannot write the migration: ${(cause as Error).message}`, {
      cause,
      hint: 'Choose another --output-dir or --name.',
    })
  }
}

/** YYYYMMDDHHMMSS, in UTC. */
const timestamp = (now: Date) => now.toISOString().replace(/\D/g, '').slice(0, 14)

function checkName(name: string): string {
  if (/^[A-Za-z0-9_-]{1,100}$/.test(name)) return name
  throw new TidingsError('USAGE', `--name is ${JSON.stringify(name)}`, {
    hint: "Use 1 to 100 letters, digits, '_' and '-'.",
  })
}
