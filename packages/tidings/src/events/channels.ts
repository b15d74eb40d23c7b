import { show, TidingsError } from '../core/errors.ts'
import type { Interest } from '../port/listening.ts'

/** PostgreSQL's limit for names of channels. */
export const maxChannelBytes = 63
const maxPrefixBytes = 20

/** The channels of events; `due` is for listeners among themselves. */
export const channelOf = {
  queueCreated: (prefix: string | null) => channel(prefix, 'pgmq_queue_created'),
  due: (prefix: string | null) => channel(prefix, 'pgmq_message_due'),
  messageReady: (prefix: string | null) => channel(prefix, 'pgmq_message_ready'),
  /** Null if the namespace is too long for a channel name: its events come only through the channel for all. */
  messageReadyIn(prefix: string | null, namespace: string): string | null {
    const name = channel(prefix, `pgmq_message_ready.${namespace}`)
    return Buffer.byteLength(name) <= maxChannelBytes ? name : null
  },
}

/** The channels with the events of some namespaces, or of all queues. */
export function channelsOf(prefix: string | null, namespaces: readonly string[] | null): string[] {
  const narrow = namespaces?.map((namespace) => channelOf.messageReadyIn(prefix, namespace)) ?? [null]
  // Through both kinds of channels an event would come twice.
  const ready = narrow.every((name) => name !== null) ? new Set(narrow) : [channelOf.messageReady(prefix)]
  return [channelOf.queueCreated(prefix), ...ready]
}

export const interestsIn = (channels: readonly string[]) => channels.map((channel): Interest => `channel:${channel}`)

export const isDueChannel = (name: string): boolean => /(^|\.)pgmq_message_due$/.test(name)

const channelPattern = /^(?:(.+)\.)?pgmq_(?:queue_created|message_due|message_ready(?:\.(.+))?)$/

/** Whether events come through channels of this name. */
export const isEventChannel = (name: string): boolean => channelPattern.test(name)

/**
 * Only channels with these names carry events, and remote clients may listen to no others.
 * @throws CONFIG_INVALID
 */
export function checkChannel(name: string, path: string): void {
  const found = Buffer.byteLength(name) <= maxChannelBytes ? channelPattern.exec(name) : null
  if (found === null)
    throw new TidingsError('CONFIG_INVALID', `${path} is ${show(name)}, through which no events come`, {
      details: { field: path },
      hint: "Use pgmq_queue_created, pgmq_message_ready or 'pgmq_message_ready.<namespace>', with the prefix in front.",
    })
  const [, prefix, namespace] = found
  if (prefix !== undefined) checkPrefix(prefix, path)
  if (namespace !== undefined) checkNamespace(namespace, path)
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
