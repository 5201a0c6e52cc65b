"""lanewise completion."""
import click
from click.shell_completion import ShellComplete, get_completion_class

from .main import HELP

SHELLS = ("bash", "zsh", "fish")


@click.command(context_settings=HELP, epilog="""\b
Examples:
  lanewise completion bash >> ~/.bashrc
  lanewise completion zsh >> ~/.zshrc
  lanewise completion fish > ~/.config/fish/completions/lanewise.fish""")
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(ctx, shell):
    """Print the script that completes 'lanewise' in a SHELL.

    SHELL is bash, zsh or fish."""
    made = get_completion_class(shell)(ctx.find_root().command, {}, "lanewise", "_LANEWISE_COMPLETE")
    click.echo(ShellComplete.source(made))              # bash's own source() would start bash to ask for its version
