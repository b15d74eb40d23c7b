import { createHash } from 'node:crypto'
import { helpers, scripts } from './lua.gen.ts'

export type ScriptName = keyof typeof scripts

export interface Script {
  readonly text: string
  /** For EVALSHA. */
  readonly hash: string
}

const known = new Map<ScriptName, Script>()

/** A script with the helpers that it uses. */
export function scriptOf(name: ScriptName): Script {
  const before = known.get(name)
  if (before) return before
  const { flags, helpers: used, code } = scripts[name]
  const text = [flags, ...used.map((helper) => helpers[helper]), code, ''].join('\n')
  const script = { text, hash: createHash('sha1').update(text).digest('hex') }
  known.set(name, script)
  return script
}
