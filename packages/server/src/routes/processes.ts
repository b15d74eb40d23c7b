import { TidingsError } from 'tidings/internal/core/errors'
import * as option from 'tidings/internal/core/options'
import { inOrder, type ProcessInfo } from 'tidings/internal/port/processes'
import { toWireProcess } from 'tidings/internal/protocol/messages'
import { everybody } from '../auth/caller.ts'
import { named, shape } from '../http/fields.ts'
import { type Route, route } from '../http/route.ts'

const processFields = {
  id: shape.text('No other process that is there has it.'),
  host: shape.text('The name of its host.'),
  pid: shape.number('Its number on that host.'),
  version: shape.text('The version of Tidings that it runs.'),
  since: shape.time('When its life began.'),
  queues: shape.nullable(
    shape.several(
      'From which queues it has claimed messages that are held, by name; null where the storage does not know.',
      shape.text(''),
    ),
  ),
  token: shape.nullable(shape.text('The name of its token, where it comes through this server and has one.')),
} as const

export const processRoutes: readonly Route[] = [
  route({
    name: 'listProcesses',
    method: 'GET',
    path: '/v1/processes',
    tag: 'Storage',
    summary: 'The processes that work on the storage now',
    description:
      'Those that connect to it directly, and the clients of this server, as far as the storage or the server looks after them; each as it says itself. At most 1,000. For a token that sees all queues.',
    scope: 'read',
    answers: {
      200: {
        description: 'By host and process.',
        fields: { processes: shape.several('', named('Process', option.object('', processFields))) },
      },
    },
    async handle({ bus, access, holders }) {
      if (!access.seesAll)
        throw new TidingsError('FORBIDDEN', 'the token does not see all queues, on which these processes work', {
          hint: 'Ask with a token without names of queues.',
        })
      const processes = inOrder([...(await bus.stored.processes()), ...holders.processes.map(withoutEverybody)])
      return { status: 200, body: { processes: processes.map(toWireProcess) } }
    },
  }),
]

/** Who needs no token has none. */
const withoutEverybody = ({ token, ...one }: ProcessInfo): ProcessInfo =>
  token === undefined || token === everybody.name ? one : { ...one, token }
