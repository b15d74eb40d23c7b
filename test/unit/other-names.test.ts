import assert from 'node:assert/strict'
import { homeOf, meant, otherNames } from 'tidings/internal/core/other-names'
import { allRoutes } from 'tidings-server/internal/routes/all'
import { describe, test } from 'vitest'
import { calls } from '../../scripts/calls.mjs'

const optionsOf = (call: string): string[] =>
  calls.flatMap(([title, schema]) => (title.startsWith(`${call}(`) ? Object.keys(schema) : []))

/** The names of the fields of a route's body. */
const fieldsOf = (method: string, path: string): string[] =>
  Object.keys(allRoutes.find((route) => route.method === method && route.path === path)?.body ?? {})

describe('what other systems call an option', () => {
  const known: [where: string, options: string[], theirs: string, ours: string][] = [
    ['BullMQ', optionsOf('queue.work'), 'attempts', 'maxAttempts'],
    ['BullMQ', optionsOf('queue.send'), 'jobId', 'dedupId'],
    ['BullMQ', optionsOf('queue.work'), 'lockDuration', 'lease'],
    ['pg-boss', optionsOf('queue.send'), 'singletonKey', 'dedupId'],
    ['pg-boss', optionsOf('queue.send'), 'startAfter', 'at'],
    ['pg-boss', optionsOf('queue.work'), 'retryLimit', 'maxAttempts'],
    ['pg-boss', optionsOf('queue.send'), 'db', 'tx'],
    ['graphile-worker', optionsOf('queue.send'), 'runAt', 'at'],
    ['PGMQ', optionsOf('queue.read'), 'vt', 'lease'],
    ['PGMQ', optionsOf('queue.read'), 'qty', 'limit'],
    ['SQS', optionsOf('queue.read'), 'VisibilityTimeout', 'lease'],
    ['SQS', optionsOf('queue.send'), 'MessageGroupId', 'orderingKey'],
    ['NATS', optionsOf('queue.work'), 'ack_wait', 'lease'],
    ['a system before this one', optionsOf('queue.read'), 'visibility_timeout', 'lease'],
    ['a system before this one', optionsOf('queue.work'), 'backoff_ms', 'backoff'],
    ['a system before this one', optionsOf('bus.queue'), 'max_size', 'maxMessageBytes'],
    ['a system before this one', optionsOf('eventsMigration'), 'queue_naming_pattern', 'queuePattern'],
    ['a system before this one', optionsOf('queue.send'), 'process_after', 'at'],
    ['another spelling', optionsOf('queue.send'), 'dedup_id', 'dedupId'],
    ['a typing error', optionsOf('queue.send'), 'dely', 'delay'],
    ['a flag', ['--limit', '--lease'], '--visibility-timeout', '--lease'],
    ['a flag', ['--limit', '--message-version'], '--version', '--message-version'],
    ['a flag', ['--url', '--json'], '--dsn', '--url'],
    ['an argument', ['<queue>', '--ordering-key'], '--queue-name', '<queue>'],
    ['a field', fieldsOf('POST', '/v1/queues/{queue}/messages'), 'payload', 'message'],
    ['a field', fieldsOf('POST', '/v1/queues/{queue}/messages'), 'jobId', 'dedup'],
    ['a field', fieldsOf('POST', '/v1/queues/{queue}/messages'), 'DelaySeconds', 'delay'],
  ]
  test.each(known)('%s: %s has %s for %s', (_where, options, theirs, ours) => {
    assert.equal(meant(theirs, options), ours)
  })

  test('an option of another call is named with the call', () => {
    assert.equal(meant('attempts', optionsOf('queue.send')), undefined)
    assert.deepEqual(homeOf('attempts'), { call: 'queue.work', option: 'maxAttempts' })
    assert.deepEqual(homeOf('correlation_id'), { call: 'queue.send', option: 'meta.correlation_id' })
    // It is spelled nearly like `at`, but was not meant so.
    assert.equal(meant('vt', optionsOf('queue.send')), undefined)
  })

  test('every option of the table is one of its call', () => {
    const wrong = otherNames.filter(([call, ours]) => {
      const [name = ''] = ours.split(/[ .]/)
      return !call.includes(' ') && !optionsOf(call).includes(name)
    })
    // These are no options, but arguments.
    assert.deepEqual(
      wrong.map(([call, ours]) => `${call}: ${ours}`),
      ['queue.sendBatch: data', 'connect: url', 'topic.subscribe: subscription'],
    )
  })
})
