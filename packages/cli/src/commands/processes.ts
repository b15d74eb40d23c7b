import type { ProcessInfo } from 'tidings/internal/bus/processes'
import { command } from '../command.ts'
import { withContext } from '../context.ts'
import { type Column, inOneLine, table } from '../output.ts'

export const processes = () =>
  command(
    'processes',
    'Lists the processes that work on the storage now, as they say themselves.',
    'tidings processes',
  ).action(
    withContext(async ({ out, connect }) => {
      const found = await (await connect()).processes()
      out.result(found, () => (found.length > 0 ? table(found, columns) : 'no processes'))
    }),
  )

const columns: readonly Column<ProcessInfo>[] = [
  ['HOST', ({ host }) => host],
  ['PID', ({ pid }) => pid],
  ['VERSION', ({ version }) => version],
  ['SINCE', ({ since }) => since],
  ['TOKEN', ({ token }) => token ?? null],
  ['QUEUES', ({ queues }) => (queues === null ? null : inOneLine(queues.join(' ')))],
]
