import { fileURLToPath } from 'node:url'
import ts from '../consumer/node_modules/typescript/lib/typescript.js'

const packages = fileURLToPath(new URL('../../packages/', import.meta.url))

/** The doors to applications. What implements a storage goes through the testkit's. */
const doors = [
  'tidings/dist/index',
  'tidings/dist/testing',
  'tidings/dist/pgmq',
  'local/dist/index',
  'server/dist/index',
]

/** Members of public classes that are in the forms of the storage, for our own packages. */
const inside = new Set(['engine', 'stored', 'telemetry', 'wakeups'])

interface PublicProperty {
  /** `QueueInfo.createdAt` */
  readonly name: string
  /** Without null and undefined. */
  readonly types: readonly string[]
  readonly optional: boolean
}

/** Every property of every type that an application can get at, as TypeScript reads the built declarations. */
export function publicProperties(): PublicProperty[] {
  const files = doors.map((door) => `${packages}${door}.d.ts`)
  const program = ts.createProgram(files, {
    ...{ strict: true, skipLibCheck: true, types: ['node'], lib: ['lib.es2023.d.ts', 'lib.esnext.disposable.d.ts'] },
    ...{ module: ts.ModuleKind.NodeNext, target: ts.ScriptTarget.ES2022 },
  })
  const checker = program.getTypeChecker()
  const seen = new Set<ts.Type>()
  const found: PublicProperty[] = []
  const isOurs = ({ declarations }: ts.Symbol) =>
    declarations?.some(
      (one) =>
        one.getSourceFile().fileName.startsWith(packages) &&
        ts.getJSDocTags(one).every(({ tagName }) => tagName.text !== 'internal'),
    ) ?? false

  function visit(type: ts.Type): void {
    if (seen.has(type)) return
    seen.add(type)
    if (type.isUnionOrIntersection()) type.types.forEach(visit)
    if ('target' in type) checker.getTypeArguments(type as ts.TypeReference).forEach(visit)
    for (const signature of type.getCallSignatures()) {
      visit(signature.getReturnType())
      for (const parameter of signature.parameters) visit(checker.getTypeOfSymbol(parameter))
    }
    // What constructors take comes from our own packages.
    for (const signature of type.getConstructSignatures()) visit(signature.getReturnType())
    for (const property of type.getProperties().filter((one) => isOurs(one) && !inside.has(one.name))) {
      const value = checker.getTypeOfSymbol(property)
      const known = checker.getNonNullableType(value)
      found.push({
        name: `${(type.aliasSymbol ?? type.symbol)?.name}.${property.name}`,
        types: (known.isUnion() ? known.types : [known]).map((one) => checker.typeToString(one)),
        optional: (property.flags & ts.SymbolFlags.Optional) !== 0,
      })
      visit(value)
    }
  }

  for (const file of files)
    for (const exported of checker.getExportsOfModule(checker.getSymbolAtLocation(program.getSourceFile(file)!)!)) {
      const symbol = exported.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(exported) : exported
      if (symbol.flags & ts.SymbolFlags.Type) visit(checker.getDeclaredTypeOfSymbol(symbol))
      if (symbol.flags & ts.SymbolFlags.Value) visit(checker.getTypeOfSymbol(symbol))
    }
  return found
}
