import { Argument } from 'commander'
import type { Correlation } from 'tidings/internal/bus/correlation'
import { command } from '../command.ts'
import { withContext } from '../context.ts'
import { count, table } from '../output.ts'

export const correlation = () =>
  command(
    'correlation',
    'Shows how far the tasks of a correlation are: messages that were sent with its id and tracking.',
    'tidings correlation hired-17',
  )
    .addArgument(new Argument('<id>', 'what the messages have as correlationId in their meta'))
    .action(
      withContext(async ({ out, connect }, id) => {
        const found = await (await connect()).correlation(id!)
        out.result(found, () => (found ? describe(found) : `no tracked messages have the correlation id ${id}`))
      }),
    )

function describe(found: Correlation): string {
  const { id, pending, running, total, startedAt, completedAt, failedAt, doneAt, queues } = found
  const left = pending + running
  const progress = left > 0 ? `${left} of ${count(total, 'task')} left` : `${count(total, 'task')}, none left`
  const times = [
    ['first failure', failedAt],
    ['completed', completedAt],
    ['all done', doneAt],
  ] as const
  const reached = times.map(([what, time]) => (time ? `, ${what} ${time.toISOString()}` : ''))
  const head = `${id}: ${progress}; started ${startedAt.toISOString()}${reached.join('')}`
  const rows = [...queues, { ...found, queue: 'together' }]
  return `${head}\n\n${table(queues.length > 1 ? rows : queues, [
    ['QUEUE', ({ queue }) => queue],
    ['PENDING', (row) => row.pending],
    ['RUNNING', (row) => row.running],
    ['DONE', ({ done }) => done],
    ['DEAD', ({ dead }) => dead],
    ['CANCELLED', ({ cancelled }) => cancelled],
  ])}`
}
