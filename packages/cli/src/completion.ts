import type { Command } from 'commander'

export const shells = ['bash', 'zsh', 'fish'] as const
export type Shell = (typeof shells)[number]

/** The script by which a shell completes the command line, made from the declarations of its commands. */
export function completionScript(root: Command, shell: Shell): string {
  const spots = spotsOf(root, root.name())
  return { bash: bashScript, zsh: zshScript, fish: fishScript }[shell](spots)
}

/** A command, and what may follow it. */
interface Spot {
  /** The command with those above it: 'tidings queue create'. */
  readonly path: string
  readonly commands: readonly { readonly name: string; readonly doc: string }[]
  readonly flags: readonly CompletedFlag[]
  /** The words that its argument may be. */
  readonly words: readonly string[]
}

interface CompletedFlag {
  /** With its dashes. */
  readonly name: string
  readonly doc: string
  readonly takesValue: boolean
  /** All that the value may be; empty: anything, so that the shell offers files. */
  readonly choices: readonly string[]
}

function spotsOf(command: Command, path: string): Spot[] {
  const help = command.createHelp()
  const commands = help.visibleCommands(command).map((one) => ({ name: one.name(), doc: one.description() }))
  const flags = help.visibleOptions(command).map((option) => ({
    name: option.long!,
    doc: option.description,
    takesValue: option.required,
    choices: option.argChoices ?? choicesIn(option.flags),
  }))
  const words = command.registeredArguments.flatMap((argument) => argument.argChoices ?? [])
  return [{ path, commands, flags, words }, ...command.commands.flatMap((one) => spotsOf(one, `${path} ${one.name()}`))]
}

/** '--place <ready|delayed>': the placeholder names all values. */
const choicesIn = (flags: string) => /<([^>]+\|[^>]+)>/.exec(flags)?.[1]?.split('|') ?? []

/** The flags behind which a value stands, wherever they do. */
const valuedFlags = (spots: readonly Spot[]) => [
  ...new Set(spots.flatMap(({ flags }) => flags.filter(({ takesValue }) => takesValue).map(({ name }) => name))),
]
const pathsBelow = (spots: readonly Spot[]) => spots.slice(1).map(({ path }) => path)

const quote = (text: string) => `'${text.replaceAll("'", `'\\''`)}'`
const patterns = (texts: readonly string[]) => texts.map(quote).join('|')

/** Walks the words before the cursor to the command that they name; the same in bash and in zsh. */
const walk = (spots: readonly Spot[], words: string, start: string, end: string) => `\
  local at=tidings before='' word i
  for ((i = ${start}; i < ${end}; i++)); do
    word=\${${words}[i]}
    case "$before" in
      ${patterns(valuedFlags(spots))}) before='' ;;
      *)
        before=$word
        case "$at $word" in
          ${patterns(pathsBelow(spots))}) at="$at $word" ;;
        esac
        ;;
    esac
  done`

function bashScript(spots: readonly Spot[]): string {
  const values = spots.flatMap(({ path, flags }) =>
    flags.flatMap(({ name, choices }) =>
      choices.length > 0 ? [`    ${quote(`${path} ${name}`)}) offered=${quote(choices.join(' '))} ;;`] : [],
    ),
  )
  const cases = spots.map(({ path, commands, flags, words }) => {
    const all = [...commands.map(({ name }) => name), ...words, ...flags.map(({ name }) => name)]
    return `    ${quote(path)}) offered=${quote(all.join(' '))} ;;`
  })
  return `# Completion for bash. In ~/.bashrc: source <(tidings completion bash)
_tidings() {
${walk(spots, 'COMP_WORDS', '1', 'COMP_CWORD')}
  local offered=''
  case "$at $before" in
${values.join('\n')}
    *' '${patterns(valuedFlags(spots)).replaceAll('|', "|*' '")}) ;;
    *) case "$at" in
${cases.join('\n')}
    esac ;;
  esac
  # What offers nothing is completed as the name of a file.
  COMPREPLY=($(compgen -W "$offered" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _tidings tidings
`
}

function zshScript(spots: readonly Spot[]): string {
  const entry = (name: string, doc: string) => quote(`${name}:${doc.replaceAll('\\', '\\\\').replaceAll(':', '\\:')}`)
  const values = spots.flatMap(({ path, flags }) =>
    flags.flatMap(({ name, choices }) =>
      choices.length > 0 ? [`    ${quote(`${path} ${name}`)}) compadd -- ${choices.join(' ')} ;;`] : [],
    ),
  )
  const cases = spots.map(({ path, commands, flags, words }) => {
    const below = [...commands.map(({ name, doc }) => entry(name, doc)), ...words.map((word) => quote(word))]
    const own = flags.map(({ name, doc }) => entry(name, doc))
    return `    ${quote(path)})
      offered=(${below.join(' ')})
      flags=(${own.join(' ')})
      ;;`
  })
  return `#compdef tidings
# Completion for zsh. In ~/.zshrc, behind compinit: source <(tidings completion zsh)
_tidings() {
${walk(spots, 'words', '2', 'CURRENT')}
  local -a offered flags
  case "$at $before" in
${values.join('\n')}
    *' '${patterns(valuedFlags(spots)).replaceAll('|', "|*' '")}) _files ;;
    *) case "$at" in
${cases.join('\n')}
    esac
    if ((\${#offered})); then _describe -t commands command offered; fi
    if [[ \${words[CURRENT]} == -* ]]; then
      _describe -t flags flag flags
    elif ((! \${#offered})); then
      _files
    fi ;;
  esac
}
if (($+functions[compdef])); then compdef _tidings tidings; fi
`
}

function fishScript(spots: readonly Spot[]): string {
  const quoteFish = (text: string) => `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`
  const lines = spots.flatMap(({ path, commands, flags, words }) => {
    const here = `complete -c tidings -n ${quoteFish(`__tidings_at ${path}`)}`
    return [
      ...commands.map(({ name, doc }) => `${here} -f -a ${name} -d ${quoteFish(doc)}`),
      ...words.map((word) => `${here} -f -a ${word}`),
      ...flags.map(({ name, doc, takesValue, choices }) => {
        const value = choices.length > 0 ? ` -x -a ${quoteFish(choices.join(' '))}` : takesValue ? ' -r' : ''
        return `${here} -l ${name.slice(2)}${value} -d ${quoteFish(doc)}`
      }),
    ]
  })
  return `# Completion for fish: tidings completion fish > ~/.config/fish/completions/tidings.fish
function __tidings_at
  set -l at tidings
  set -l before ''
  for word in (commandline -opc)[2..-1]
    if contains -- "$before" ${valuedFlags(spots).join(' ')}
      set before ''
      continue
    end
    set before $word
    if contains -- "$at $word" ${pathsBelow(spots).map(quoteFish).join(' ')}
      set at "$at $word"
    end
  end
  test "$at" = "$argv"
end
${lines.join('\n')}
`
}
