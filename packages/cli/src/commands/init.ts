import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { TidingsError } from 'tidings/internal/core/errors'
import { command } from '../command.ts'
import { findConfigFile } from '../config/file.ts'
import { configTemplate } from '../config/template.ts'
import { withContext } from '../context.ts'
import { showPath } from '../handlers/files.ts'

const name = 'tidings.config.mjs'

export const init = () =>
  command('init', `Writes a ${name} with every setting as a comment.`, 'tidings init')
    .option('--force', 'Overwrites the one that is there.')
    .action(
      withContext(async ({ flagValues, out }) => {
        const path = join(process.cwd(), name)
        const there = findConfigFile(process.cwd())
        if (there !== null && there !== path)
          throw new TidingsError('USAGE', `there is a configuration file already: ${showPath(there)}`, {
            hint: 'Two of them would contradict each other: remove it first.',
          })
        try {
          writeFileSync(path, configTemplate(), { flag: flagValues.force ? 'w' : 'wx', mode: 0o644 })
        } catch (error) {
          throw (error as NodeJS.ErrnoException).code === 'EEXIST'
            ? new TidingsError('USAGE', `there is a ${name} already`, { hint: 'Pass --force to overwrite it.' })
            : error
        }
        out.result({ file: name }, () => `wrote ${name}`)
      }),
    )
