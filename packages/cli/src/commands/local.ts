import { TidingsError } from 'tidings/internal/core/errors'
import { checkUrl } from 'tidings/internal/core/url'
import {
  defaultDirectory,
  ensureLocal,
  ensureLocalRedis,
  type LocalStatus,
  localStatus,
  stopLocal,
} from 'tidings-local'
import { command, type FlagValues, group } from '../command.ts'
import { withContext } from '../context.ts'
import { roughly } from '../output.ts'

export const local = () =>
  group('local', 'Starts, stops and shows the PostgreSQL that comes with Tidings, or a Redis of this machine.')
    .addCommand(start())
    .addCommand(stop())
    .addCommand(status())

const inDirectory = (name: string, summary: string) =>
  command(
    name,
    summary,
    `tidings local ${name}`,
    `tidings local ${name} --dir /var/lib/tidings`,
    `tidings local ${name} --url redis+local:./queues`,
  ).option('--dir <directory>', `Where its data are; or name it in --url. (default: ${defaultDirectory})`)

const start = () =>
  inDirectory('start', 'Starts it, if it does not run. Commands and programs do so by themselves.').action(
    withContext(async ({ out, flagValues }) => {
      const { directory, isRedis } = await locationOf(flagValues)
      const server = await (isRedis ? ensureLocalRedis(directory) : ensureLocal(directory))
      const { product, version, pid } = server
      out.result(server, () => `${product} ${version} runs in ${server.directory} (pid ${pid})`)
    }),
  )

const stop = () =>
  inDirectory('stop', 'Stops it in good order.').action(
    withContext(async ({ out, flagValues }) => {
      const { directory } = await locationOf(flagValues)
      const { product } = await localStatus(directory)
      const stopped = await stopLocal(directory)
      out.result({ stopped }, () => (stopped ? `stopped the ${product} in ${directory}` : 'nothing was running'))
    }),
  )

const status = () =>
  inDirectory('status', 'Shows whether and where it runs.').action(
    withContext(async ({ out, flagValues }) => {
      const { directory, isRedis } = await locationOf(flagValues)
      const found = await localStatus(directory)
      out.result(found, () =>
        found.state === 'absent'
          ? `no local ${isRedis ? 'Redis' : 'PostgreSQL'} in ${found.directory}`
          : describe(found),
      )
    }),
  )

/** The directory and the type of its server: by the URL, or else by the data in the directory. */
async function locationOf({ url, dir }: FlagValues): Promise<{ directory: string; isRedis: boolean }> {
  if (url === undefined) {
    const directory = (dir as string | undefined) ?? defaultDirectory
    return { directory, isRedis: (await localStatus(directory)).kind === 'redis' }
  }
  if (dir !== undefined) throw new TidingsError('OPTION_CONFLICT', '--dir and --url both name a directory')
  const kind = checkUrl(url, '--url')
  const directory = url.slice(`${kind}:`.length)
  if (kind === 'local') return { directory: directory || defaultDirectory, isRedis: false }
  if (kind === 'redis+local' && directory !== '') return { directory, isRedis: true }
  throw new TidingsError('URL_INVALID', '--url names no local server that is shared', {
    hint: 'Give local:./directory or redis+local:./directory.',
  })
}

function describe(found: LocalStatus): string {
  const { state, kind, directory, dataDirectory, product, socket, port, pid, version, startedAt, sizeBytes, log } =
    found
  const client =
    kind === 'redis'
      ? (['redis-cli', socket && `redis-cli -s ${socket}`] as const)
      : (['psql', socket && `psql --host ${socket} --port ${port} --username tidings`] as const)
  const details: [string, unknown][] = [
    ['state', startedAt ? `${state} for ${roughly(Date.now() - startedAt.getTime())}` : state],
    [kind === 'redis' ? product!.toLowerCase() : 'version', version],
    ['directory', directory],
    ['data', dataDirectory === directory ? null : dataDirectory],
    ['size', `${Math.ceil(sizeBytes / 1_000_000)} MB`],
    ['pid', pid],
    [...client],
    ['log', log],
  ]
  return details
    .filter(([, value]) => value !== null)
    .map(([name, value]) => `${name.padEnd(9)}  ${value}`)
    .join('\n')
}
