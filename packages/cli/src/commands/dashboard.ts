import { spawn } from 'node:child_process'
import * as option from 'tidings/internal/core/options'
import { dashboardServerOptions } from 'tidings-server/internal/dashboard/options'
import { command } from '../command.ts'
import { withContext } from '../context.ts'
import { asText, Flags } from '../flags.ts'
import { serverLog } from '../log.ts'
import { whenOutputCloses } from '../output.ts'

const flags = new Flags(dashboardServerOptions, {
  host: asText('address'),
  tokenFile: asText('file'),
  tlsCert: asText('file'),
  tlsKey: asText('file'),
  hosts: { placeholder: 'names', repeated: true, read: (value) => value },
})

export const dashboard = () =>
  flags
    .addTo(
      command(
        'dashboard',
        'Shows queues, messages, topics and schedules in a browser, until Ctrl-C.',
        'tidings dashboard --open',
        'tidings dashboard --read-only --port 9000',
      ),
    )
    .option('--open', 'Opens it in the browser.')
    .addHelpText('after', help)
    .action(
      withContext(async (context) => {
        const { flagValues, out } = context
        const settings = flags.read(flagValues)
        option.parseOptions(dashboardServerOptions, settings, 'dashboard')
        const [{ DashboardServer }, logger] = await Promise.all([
          import('tidings-server/internal/listening/dashboard-server'),
          serverLog(),
        ])
        const bus = await context.connect(logger)
        const server = new DashboardServer(bus, settings, logger)
        const stopped = untilToldToStop()
        await server.start()
        try {
          const { url } = server
          out.result({ url }, () => `the dashboard is at ${url}`)
          if (flagValues.open === true) open(url)
          await stopped
        } finally {
          await server.stop()
        }
      }),
    )

const help = `
On this machine it lets everybody in who works there. At another --host it needs TLS (--tls-cert and --tls-key, or
--behind-proxy), and a token: one of --token-file, or one that is made for this run and stands in the URL that it prints.
Each action is logged with who did it (JSON, to standard error).`

/** The first signal stops, the second does not wait. */
function untilToldToStop(): Promise<void> {
  // It goes on when nobody reads its output.
  whenOutputCloses(() => {})
  return new Promise((resolve) => {
    let signals = 0
    const stop = () => {
      if (++signals > 1) process.exit(1)
      resolve()
    }
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, stop)
  })
}

/** Where there is no browser, the URL that was printed will do. */
function open(url: string): void {
  const [program, ...before] =
    process.platform === 'darwin' ? ['open'] : process.platform === 'win32' ? ['cmd', '/c', 'start', ''] : ['xdg-open']
  spawn(program!, [...before, url], { stdio: 'ignore', detached: true })
    .on('error', () => {})
    .unref()
}
