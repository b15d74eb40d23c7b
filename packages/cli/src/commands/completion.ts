import { Argument, type Command } from 'commander'
import { command } from '../command.ts'
import { completionScript, type Shell, shells } from '../completion.ts'
import { Output } from '../output.ts'

export const completion = () =>
  command(
    'completion',
    'Prints the script by which a shell completes commands and flags of `tidings`.',
    'source <(tidings completion bash)',
    'tidings completion fish > ~/.config/fish/completions/tidings.fish',
  )
    .addArgument(new Argument('<shell>', shells.join(', ')).choices(shells))
    .action((shell: Shell, { json = false }: { json?: boolean }, own: Command) => {
      const script = completionScript(own.parent!, shell)
      new Output(json).result({ shell, script }, () => script.trimEnd())
    })
