// What the packages declare to those who use them, as text: a change of it shows in docs/reference/api.md.
import { readFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

const packages = fileURLToPath(new URL('../packages/', import.meta.url))
const doors = {
  tidings: 'tidings/dist/index.d.ts',
  'tidings/testing': 'tidings/dist/testing.d.ts',
  'tidings/pgmq': 'tidings/dist/pgmq.d.ts',
  'tidings-local': 'local/dist/index.d.ts',
  'tidings-server': 'server/dist/index.d.ts',
  'tidings-testkit': 'testkit/dist/index.d.ts',
  'tidings-cli': 'cli/dist/index.d.ts',
}

/** The compiler writes every statement from the first column on, and nothing else but closing brackets there. */
function statementsOf(file) {
  const text = readFileSync(file, 'utf8').replace(/^ *\/\*\*[\s\S]*?\*\/\n/gm, '')
  return text.split(/\n(?=[a-z])/).map((one) => one.trim())
}

/** Writes out what an interface has by `extends Dated<module.Interface>`, so that the page shows all of it. */
function withDated(text, file) {
  const [head, name, module, base, left] =
    /^interface (\w+) extends (?:Omit<)?Dated<(\w+)\.(\w+)>(?:, '(\w+)'>)? \{/.exec(text) ?? []
  if (head === undefined) return text
  const [, path] = new RegExp(`\\* as ${module} from '(.+)\\.ts'`).exec(readFileSync(file, 'utf8'))
  const [, ...members] = exportsOf(resolve(dirname(file), `${path}.d.ts`))
    .get(base)
    .slice(0, -2)
    .replace(/((?:\w+At|since|until)\??: )(?:number|string)/g, '$1Date')
    .split(/\n(?= {4}readonly)/)
  const kept = members.filter((member) => !member.includes(`readonly ${left}?:`))
  return [`interface ${name} {`, ...kept, text.slice(head.length + 1)].join('\n')
}

/** Declarations by the names that a module exports, wherever they stand. */
function exportsOf(file) {
  const declared = new Map()
  const exported = new Map()
  for (const one of statementsOf(file)) {
    const name = /^(?:export )?(?:declare )?(?:abstract )?(?:class|interface|type|function|const) (\w+)/.exec(one)?.[1]
    if (name) declared.set(name, [declared.get(name), one.replace(/^export /, '')].filter(Boolean).join('\n'))
    if (name && one.startsWith('export ')) exported.set(name, () => withDated(declared.get(name), file))
    const [, names, from] = /^export (?:type )?\{([^}]*)\}(?: from ['"]([^'"]+)['"])?/.exec(one) ?? []
    for (const entry of names?.split(',').filter((one) => one.trim() !== '') ?? []) {
      const [own, as = own] = entry
        .trim()
        .replace(/^type /, '')
        .split(' as ')
      exported.set(as, () =>
        from ? exportsOf(resolve(dirname(file), from.replace(/\.[jt]s$/, '.d.ts'))).get(own) : declared.get(own),
      )
    }
  }
  return new Map([...exported].map(([name, find]) => [name, find()]))
}

const report = (file) =>
  [...exportsOf(file)]
    .sort(([one], [other]) => (one < other ? -1 : 1))
    .map(([name, text]) => (text ?? `// ${name}: not found`).replace(/^ +#private;\n/m, ''))
    .join('\n\n')

/** @returns the page's sections */
export const apiReport = () =>
  Object.entries(doors)
    .map(([door, file]) => `## \`${door}\`\n\n\`\`\`text\n${report(join(packages, file))}\n\`\`\``)
    .join('\n\n')
