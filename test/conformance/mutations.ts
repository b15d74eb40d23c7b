import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
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
const mutable = ['packages/tidings/src/engines/memory/', 'packages/testkit/src/memory-harness.ts'].map((path) =>
  join(root, path),
)

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

/** Loads mutated modules: the query of an import goes on to the imports of the module, and changes the source of its file. */
export function mutationPlugin(): Plugin {
  const queryOf = (id = '') => /\?mutation=(.*)$/.exec(id)
  return {
    name: 'mutations',
    enforce: 'pre',
    async resolveId(source, importer) {
      const query = queryOf(importer)
      if (query === null) return null
      const resolved = await this.resolve(source, importer, { skipSelf: true })
      if (resolved === null || !mutable.some((path) => resolved.id.startsWith(path))) return resolved
      return resolved.id + query[0]
    },
    transform(code, id) {
      const query = queryOf(id)
      if (query === null) return null
      const { file, find, replace } = JSON.parse(Buffer.from(query[1]!, 'base64url').toString())
      return id.startsWith(join(root, file)) ? code.replace(find, () => replace) : null
    },
  }
}
