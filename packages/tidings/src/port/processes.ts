import { hostname } from 'node:os'
import { version } from '../core/version.ts'

/** What a process says of itself. */
export interface ProcessDescription {
  readonly host: string
  readonly pid: number
  /** Of Tidings. */
  readonly version: string
}

/**
 * A process that the storage looks after: somebody in it listens to 'life'. It has said who it is when that began, and what it
 * says is its to say; one of an earlier version has not, and is not listed.
 */
export interface ProcessInfo extends ProcessDescription {
  /** No other process that is there has it. */
  readonly id: string
  /** When its life began; on Redis by the clock of the process. */
  readonly since: number
  /** From which queues it has claimed messages that are held, by name; null where the storage does not know. */
  readonly queues: readonly string[] | null
  /** The name of its token, where it comes through a server over HTTP. */
  readonly token?: string
}

/** More than this are not listed. */
export const maxProcesses = 1_000

const longestHost = 255
const longestVersion = 64
/** As text: longer than any description. */
const longestText = 2_000

/** Names of hosts have no other characters, and a storage need not take any. */
const host =
  hostname()
    .replace(/[^\x21-\x7e]/g, '?')
    .slice(0, longestHost) || 'unknown'

export const thisProcess: ProcessDescription = { host, pid: process.pid, version }

/** Another process may have said anything. @returns null for what is no description */
export function readDescription(told: unknown): ProcessDescription | null {
  if (typeof told !== 'object' || told === null) return null
  const { host, pid, version } = told as Partial<ProcessDescription>
  const isGood = isText(host, longestHost) && isNatural(pid) && isText(version, longestVersion)
  return isGood ? { host, pid, version } : null
}

const isText = (value: unknown, longest: number): value is string =>
  typeof value === 'string' && value.length > 0 && value.length <= longest
const isNatural = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0

/** The description, and what is told with it, as one word of letters, digits, '-' and '_'. */
export const toWord = (told: ProcessDescription & { readonly since?: number }): string =>
  Buffer.from(JSON.stringify(told)).toString('base64url')

/** What the word says; undefined for none that `toWord` has made. */
export function fromWord(word: string): unknown {
  if (word.length > longestText) return undefined
  try {
    return JSON.parse(Buffer.from(word, 'base64url').toString())
  } catch {
    return undefined
  }
}

const latest = 8.64e15

/** A time that a process has told. @returns null for what is none */
export function readSince(told: unknown): number | null {
  const { since } = Object(told) as { since?: unknown }
  return isNatural(since) && since <= latest ? since : null
}

/** By host and process, the longest there first, no more than `maxProcesses`. */
export const inOrder = <P extends ProcessInfo>(processes: readonly P[]): P[] =>
  [...processes]
    .sort((one, other) => compare(one.host, other.host) || one.pid - other.pid || one.since - other.since)
    .slice(0, maxProcesses)

const compare = (one: string, other: string) => (one < other ? -1 : Number(one > other))
