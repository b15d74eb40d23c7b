import { mkdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
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
        .option('--output-dir <folder>', 'Where the two files go.', 'migrations')
        .option('--name <name>', 'What the names of the files end with.', 'add_queue_events'),
    )
    .action(
      withContext(async ({ flagValues, out, config }) => {
        const { events } = (await config()).config
        const options = { ...events, ...flags.read(flagValues) }
        const start = join(
          String(flagValues.outputDir),
          `${timestamp(new Date())}_${checkName(String(flagValues.name))}`,
        )
        const { eventsMigration } = await import('tidings/internal/connect')
        const { up, down } = await eventsMigration(options)
        const files = { up: `${start}.up.sql`, down: `${start}.down.sql` }
        await writeBoth([files.up, up], [files.down, down])
        out.result(files, () => `wrote ${files.up}\nwrote ${files.down}`)
      }),
    )

/** Writes both files or none, and overwrites nothing. */
async function writeBoth(...files: readonly (readonly [path: string, text: string])[]): Promise<void> {
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
