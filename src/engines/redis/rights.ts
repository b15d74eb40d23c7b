import type { Finding } from '../../engine.ts'
import { isTidingsError } from '../../errors.ts'
import type { Command } from './calling.ts'
import type { Driver } from './driver.ts'
import { newNonce } from './keys.ts'

/** Tries every command on a key of its own, in a way that changes nothing or fails for another reason than rights. */
export async function checkRights(driver: Driver): Promise<Finding> {
  const key = `{tidings}:probe:${newNonce()}`
  const refused: string[] = []
  for (const command of probes(key))
    await driver.call(key, command).catch((error: unknown) => {
      if (isTidingsError(error, 'PERMISSION_DENIED')) refused.push(command[0])
      else if (!isTidingsError(error, 'STORAGE_FAILED')) throw error
    })
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
    ['HSET', key, 'field', 'value', 'without a value'],
    ['HINCRBY', key, 'field', 'not a number'],
    ['HDEL', key, 'field'],
    ['ZADD', key, 'XX', 0, 'member'],
    ['ZREM', key, 'member'],
    ['ZCARD', key],
    ['ZCOUNT', key, '-inf', '+inf'],
    ['ZSCORE', key, 'member'],
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
  ]
}
