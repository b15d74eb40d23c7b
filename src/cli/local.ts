import { defaultDirectory, ensureLocal, type LocalStatus, localStatus, stopLocal } from '../local/local.ts'
import { command, group } from './command.ts'
import { withContext } from './context.ts'
import { roughly } from './output.ts'

export const local = () =>
  group('local', 'Starts, stops and shows the PostgreSQL that comes with Tidings.')
    .addCommand(start())
    .addCommand(stop())
    .addCommand(status())

const inDirectory = (name: string, summary: string) =>
  command(name, summary, `tidings local ${name}`, `tidings local ${name} --dir /var/lib/tidings`).option(
    '--dir <directory>',
    'Where its data is.',
    defaultDirectory,
  )

const start = () =>
  inDirectory('start', 'Starts it, if it does not run. Commands and programs do so by themselves.').action(
    withContext(async ({ out, given }) => {
      const server = await ensureLocal(given.dir as string)
      out.result(server, () => `PostgreSQL ${server.version} runs in ${server.directory} (pid ${server.pid})`)
    }),
  )

const stop = () =>
  inDirectory('stop', 'Stops it in good order.').action(
    withContext(async ({ out, given }) => {
      const stopped = await stopLocal(given.dir as string)
      out.result({ stopped }, () => (stopped ? `stopped the PostgreSQL in ${given.dir}` : 'nothing was running'))
    }),
  )

const status = () =>
  inDirectory('status', 'Shows whether and where it runs.').action(
    withContext(async ({ out, given }) => {
      const found = await localStatus(given.dir as string)
      out.result(found, () => describe(found))
    }),
  )

function describe(found: LocalStatus): string {
  const { state, directory, dataDirectory, socket, port, pid, version, startedAt, sizeBytes, log } = found
  if (state === 'absent') return `no local PostgreSQL in ${directory}`
  const details: [string, unknown][] = [
    ['state', startedAt ? `${state} for ${roughly(Date.now() - startedAt.getTime())}` : state],
    ['version', version],
    ['directory', directory],
    ['data', dataDirectory === directory ? null : dataDirectory],
    ['size', `${Math.ceil(sizeBytes / 1_000_000)} MB`],
    ['pid', pid],
    ['psql', socket && `psql --host ${socket} --port ${port} --username tidings`],
    ['log', log],
  ]
  return details
    .filter(([, value]) => value !== null)
    .map(([name, value]) => `${name.padEnd(9)}  ${value}`)
    .join('\n')
}
