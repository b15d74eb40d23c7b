import { show, TidingsError } from '../errors.ts'

/** PostgreSQL's limit for names of channels. */
const maxChannelBytes = 63
const maxPrefixBytes = 20

/** The channels that events come through; `due` is for listeners among themselves. */
export const channelOf = {
  queueCreated: (prefix: string | null) => channel(prefix, 'pgmq_queue_created'),
  due: (prefix: string | null) => channel(prefix, 'pgmq_message_due'),
  messageReady: (prefix: string | null) => channel(prefix, 'pgmq_message_ready'),
  /** Null where the namespace is too long for a name: its events come only through the channel for all. */
  messageReadyIn(prefix: string | null, namespace: string): string | null {
    const name = channel(prefix, `pgmq_message_ready.${namespace}`)
    return Buffer.byteLength(name) <= maxChannelBytes ? name : null
  },
}

const channel = (prefix: string | null, name: string) => (prefix === null ? name : `${prefix}.${name}`)

/** @throws CONFIG_INVALID */
export function checkPrefix(prefix: string, path: string): void {
  const isRight = /^[A-Za-z_][A-Za-z0-9_.]*$/.test(prefix) && prefix.length <= maxPrefixBytes
  if (isRight) return
  throw new TidingsError('CONFIG_INVALID', `${path} is ${show(prefix)}, which cannot start the name of a channel`, {
    details: { field: path },
    hint: `Use 1 to ${maxPrefixBytes} letters, digits, '_' and '.', starting with a letter or '_'.`,
  })
}

/** @throws CONFIG_INVALID */
export function checkNamespace(namespace: string, path: string): void {
  if (/^[A-Za-z0-9_.-]{1,63}$/.test(namespace)) return
  throw new TidingsError('CONFIG_INVALID', `${path} is ${show(namespace)}, which is no namespace`, {
    details: { field: path },
    hint: "Use 1 to 63 letters, digits, '_', '-' and '.'.",
  })
}
