import type { Finding } from '../../port/engine.ts'
import { type Command, callOn } from './calling.ts'
import { replyCode, toTidingsError } from './errors.ts'
import { newNonce } from './keys.ts'
import type { Server } from './server.ts'

const timeoutMs = 5_000

/**
 * Tries every command on a key of its own, in a way that changes nothing or fails for another reason than rights. Each
 * node of a Cluster has users of its own; it looks at rights before it looks where a key is.
 */
export async function checkRights(server: Server): Promise<Finding> {
  const key = `{tidings}:probe:${newNonce()}`
  const refused: string[] = []
  try {
    const client = await server.connectAlone()
    try {
      for (const command of probes(key))
        await callOn(client, command, timeoutMs).catch((error: unknown) => {
          if (replyCode(error) === 'NOPERM') refused.push(nameOf(command).toUpperCase())
          else if (replyCode(error) === '') throw error
        })
    } finally {
      client.disconnect()
    }
  } catch (error) {
    throw toTidingsError(error, server.where, 'CONNECTION_LOST')
  }
  if (refused.length === 0) {
    return { level: 'ok', check: 'permissions', message: 'this user may do what Tidings does', remedy: '' }
  }
  return {
    level: 'problem',
    check: 'permissions',
    message: `this user may not run ${refused.join(', ')} on keys and channels that begin with {tidings`,
    remedy: 'Grant what docs/engines/redis.md lists: ACL SETUSER.',
  }
}

const nameOf = ([name, subcommand]: Command) =>
  ['CLIENT', 'CLUSTER', 'PUBSUB', 'XGROUP'].includes(name) ? `${name} ${subcommand}` : name

function probes(key: string): Command[] {
  return [
    ['TIME'],
    ['EVAL', 'return 1', 1, key],
    ['EVALSHA', '0'.repeat(40), 1, key],
    ['EXISTS', key],
    ['HGET', key, 'field'],
    ['HMGET', key, 'field'],
    ['HGETALL', key],
    ['HKEYS', key],
    ['HVALS', key],
    ['HEXISTS', key, 'field'],
    ['HLEN', key],
    ['HSCAN', key, 0],
    ['HRANDFIELD', key, 1],
    ['RENAME', key, key],
    ['HSET', key, 'field', 'value', 'without a value'],
    ['HINCRBY', key, 'field', 'not a number'],
    ['HDEL', key, 'field'],
    ['ZADD', key, 'XX', 0, 'member'],
    ['ZREM', key, 'member'],
    ['ZCARD', key],
    ['ZCOUNT', key, '-inf', '+inf'],
    ['ZLEXCOUNT', key, '-', '+'],
    ['ZREMRANGEBYSCORE', key, '-inf', '+inf'],
    ['ZSCORE', key, 'member'],
    ['ZSCAN', key, 0],
    ['ZRANGE', key, 0, 0],
    ['ZRANGEBYLEX', key, '-', '+'],
    ['ZRANGEBYSCORE', key, '-inf', '+inf'],
    ['XADD', key, 'NOMKSTREAM', '*', 'field', 'value'],
    ['XRANGE', key, '-', '+', 'COUNT', 1],
    ['XTRIM', key, 'MAXLEN', 0],
    ['PERSIST', key],
    ['PEXPIRE', key, 1],
    ['SPUBLISH', key, ''],
    ['UNLINK', key],
    ['HSETNX', key, 'field', 'value'],
    ['DEL', key],
    ['XGROUP', 'CREATE', key, 'group', '0'],
    ['XGROUP', 'SETID', key, 'group', '0'],
    ['XGROUP', 'DESTROY', key, 'group'],
    ['CLUSTER', 'SLOTS'],
    ['CLIENT', 'SETNAME', 'tidings'],
    ['PUBSUB', 'NUMSUB', key],
    ['PUBSUB', 'CHANNELS', key],
    ['SELECT', 'not a number'],
    // The connection listens after that, and takes little else. The client knows these by their small letters.
    ['ssubscribe', key],
    ['subscribe', key],
    ['ping'],
    ['sunsubscribe', key],
    ['unsubscribe', key],
  ]
}
