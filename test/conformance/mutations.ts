import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { Plugin } from 'vitest/config'

/** One planted bug: a text of a source file, and the text that takes its place. */
export interface Mutation {
  /** From the root of the repository. */
  readonly file: string
  readonly find: string
  readonly replace: string
  /** The cases that fail with it, 'group: name'. */
  readonly caughtBy: readonly string[]
}

const root = join(import.meta.dirname, '../..')
const engine = join(root, 'packages/tidings/src/engines/memory/')

export const sourceOf = (file: string): string => readFileSync(join(root, file), 'utf8')

/** Reads `faults/*.txt`: `@ file`, then for each bug `- find`, `+ replace` and the names of cases, indented. */
export function readMutations(): Mutation[] {
  const folder = join(import.meta.dirname, 'faults')
  return readdirSync(folder).flatMap((name) => {
    let file = ''
    return readFileSync(join(folder, name), 'utf8')
      .split(/\n{2,}/)
      .flatMap((entry): Mutation[] => {
        const lines = entry.split('\n')
        const after = (mark: string) => lines.filter((line) => line.startsWith(`${mark} `)).map((line) => line.slice(2))
        file = after('@')[0] ?? file
        const [find, replace] = [after('-').join('\n'), after('+').join('\n')]
        return find === '' ? [] : [{ file, find, replace, caughtBy: after(' ') }]
      })
  })
}

/** The name under which a module is imported with a mutation. */
export function mutated(module: string, { file, find, replace }: Mutation): string {
  const query = Buffer.from(JSON.stringify({ file, find, replace })).toString('base64url')
  return `${join(root, module)}?mutation=${query}`
}

/** Whether a module is this file or imports it, also through others of the engine. */
function reaches(module: string, file: string): boolean {
  if (module === file) return true
  if (!module.startsWith(engine)) return false
  const imports = readFileSync(module, 'utf8').matchAll(/from '(\.\/.*)'/g)
  return [...imports].some(([, path]) => reaches(join(dirname(module), path!), file))
}

/** Loads mutated modules: the query of an import goes on to every import that leads to the changed file. */
export function mutationPlugin(): Plugin {
  const mutationOf = (id = ''): (Mutation & { query: string }) | null => {
    const [, query, text] = /(\?mutation=(.*))$/.exec(id) ?? []
    return query === undefined ? null : { query, ...JSON.parse(Buffer.from(text!, 'base64url').toString()) }
  }
  return {
    name: 'mutations',
    enforce: 'pre',
    async resolveId(source, importer) {
      const mutation = mutationOf(importer)
      if (mutation === null) return null
      const resolved = await this.resolve(source, importer, { skipSelf: true })
      if (resolved === null || !reaches(resolved.id, join(root, mutation.file))) return resolved
      return resolved.id + mutation.query
    },
    transform(code, id) {
      const mutation = mutationOf(id)
      if (mutation === null || !id.startsWith(join(root, mutation.file))) return null
      return code.replace(mutation.find, () => mutation.replace)
    },
  }
}
