import type { Logger } from 'tidings/internal/core/logger'
import * as option from 'tidings/internal/core/options'
import type { Server } from 'tidings-server'
import { serverOptions } from 'tidings-server/internal/app/options'
import { command } from '../command.ts'
import { withContext } from '../context.ts'
import { asText, Flags } from '../flags.ts'
import { serverLog } from '../log.ts'
import { whenOutputCloses } from '../output.ts'
import { declareSchedules } from '../schedules.ts'

const { tokens: _, ...expressible } = serverOptions
const texts = (placeholder: string) => ({
  placeholder,
  repeated: true,
  read: (value: string | readonly string[]) => value,
})
const flags = new Flags(expressible, {
  host: asText('address'),
  port: { placeholder: 'n', read: (value) => toPort(value as string, '--port') },
  tokenFile: asText('file'),
  tlsCert: asText('file'),
  tlsKey: asText('file'),
  hosts: texts('names'),
  origins: texts('origins'),
})

export const serve = () =>
  flags
    .addTo(
      command(
        'serve',
        'Serves queues and topics over HTTP, until Ctrl-C. /docs of the server lists what there is.',
        'tidings serve',
        'tidings serve --port 9000 --json',
        'tidings serve --host 0.0.0.0 --token-file tokens --tls-cert cert.pem --tls-key key.pem',
      ),
    )
    .option('--sentinel', 'Runs the sentinel as well, by the rules of the configuration file.')
    .addHelpText('after', help)
    .action(
      withContext(async (context) => {
        const { flagValues, out } = context
        const checked = await context.config()
        const { config } = checked
        const settings = {
          ...config.serve,
          ...fromEnvironment(process.env),
          ...flags.read(flagValues),
        }
        option.parseOptions(serverOptions, settings, 'serve')
        const [{ createServer }, logger] = await Promise.all([import('tidings-server'), serverLog()])
        const bus = await context.connect(logger)
        if (flagValues.sentinel === true) await declareSchedules(bus, checked, (text) => logger.info({}, text))
        const sentinel = flagValues.sentinel === true ? bus.sentinel(config.sentinel) : undefined
        const server = createServer(bus, { ...settings, logger, sentinel })
        const stopped = untilToldToStop(server, logger)
        await server.start()
        await sentinel?.start()
        const { url, needsTokens } = server
        const who = needsTokens ? 'with a token' : 'everybody on this machine'
        out.result(
          { url, tokens: needsTokens },
          () =>
            `listening on ${url} (${who}); documentation: ${url}/docs${settings.dashboard === false ? '' : `; dashboard: ${url}/dashboard/`}`,
        )
        logger.info({ url, tokens: needsTokens }, 'listening')
        await stopped
        logger.info({}, 'stopped')
      }),
    )

const help = `
Without tokens it listens on this machine only and lets everybody in. Beyond it needs tokens, and TLS or --behind-proxy.
A flag goes before HOST and PORT, these before \`serve\` of the configuration file. The log (JSON, one line an event) goes to
standard error; LOG_LEVEL is trace, debug, info, warn, error or silent. (default: info) SIGHUP reads the tokens and the
certificate again; so does a change of their files.`

function fromEnvironment({ HOST, PORT }: NodeJS.ProcessEnv): { host?: string; port?: number } {
  return {
    ...(HOST ? { host: HOST } : {}),
    ...(PORT ? { port: toPort(PORT, 'PORT') } : {}),
  }
}

function toPort(text: string, path: string): number {
  const port = /^\d{1,9}$/.test(text) ? Number(text) : text
  return serverOptions.port.parse(port, path) as number
}

/** The first signal stops, the second does not wait. */
function untilToldToStop(server: Server, logger: Logger): Promise<void> {
  process.on('SIGHUP', () => server.reload())
  // The server goes on when nobody reads its output.
  whenOutputCloses(() => {})
  return new Promise((resolve, reject) => {
    let signals = 0
    const stop = () => {
      if (++signals > 1) process.exit(1)
      logger.info({}, 'stopping')
      void server.stop().then(resolve, reject)
    }
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, stop)
  })
}
