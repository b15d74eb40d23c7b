import { connect } from 'node:net'
import { text } from 'node:stream/consumers'
import { inject } from 'vitest'
import type { SharedServer } from './broker.ts'

const asked = new Map<SharedServer, Promise<string>>()

/**
 * The URL of a server that lasts as long as the run; the first test that asks for one has it started. All test files
 * share it, and each makes databases or names of its own in it.
 */
export function sharedServer(name: SharedServer): Promise<string> {
  const url = asked.get(name) ?? ask(name)
  asked.set(name, url)
  return url
}

async function ask(name: SharedServer): Promise<string> {
  const path = inject('broker')
  if (!path) throw new Error(`tests of this project use no server, and one asks for ${name}: see vitest.config.ts`)
  const socket = connect(path)
  socket.write(name)
  const { url, error } = JSON.parse(await text(socket)) as { url?: string; error?: string }
  if (url === undefined) throw new Error(error)
  return url
}
