"""The group of all commands: every mistake of a user's becomes one line and an exit status."""
import errno
import os
from contextlib import contextmanager

import click

from .. import __version__
from ..errors import DtypeError, NonFiniteError, RangeError

# ValueError: lanewise's other errors are of it; ImportError: an extra that is not installed; MemoryError: NumPy's says how much
MISTAKES = (DtypeError, NonFiniteError, RangeError, ValueError, ImportError, MemoryError)
HELP = dict(help_option_names=["-h", "--help"])


class Mistake(click.ClickException):
    """One line on the standard error, and an exit status: 2 for a wrong command line, 1 for all else."""

    def __init__(self, message, exit_code=1):
        super().__init__(" ".join(message.split()))
        self.exit_code = exit_code


@contextmanager
def one_line():
    """Turn a user's mistake into one line, without a traceback; Ctrl-C into exit status 130."""
    try:
        yield
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "lanewise"
        raise Mistake(f"{error.format_message().rstrip('.')} (see '{command} --help')", 2) from None
    except MISTAKES as error:
        raise Mistake(str(error) or type(error).__name__) from None
    except KeyboardInterrupt:
        click.echo("stopped by Ctrl-C", err=True)
        raise SystemExit(130) from None
    except OSError as error:
        if error.errno == errno.EPIPE:                  # `lanewise info | head -1`: click ends quietly
            raise
        name = os.fsdecode(error.filename) if isinstance(error.filename, (str, bytes)) else None
        raise Mistake(f"{name}: {error.strerror}" if name else str(error)) from None


class Mistakes(click.Group):
    """A group that reports every mistake, in its own options and in its commands, as one line."""

    def make_context(self, *args, **kw):
        """Parse the group's own options."""
        with one_line():
            return super().make_context(*args, **kw)

    def invoke(self, ctx):
        """Parse and run a command."""
        with one_line():
            return super().invoke(ctx)

    def list_commands(self, ctx):
        """In the order in which one meets them."""
        return list(self.commands)


@click.group(cls=Mistakes, invoke_without_command=True, context_settings=HELP, epilog="""\b
Exit status:
  0    all is well
  1    a file, the data or the training is at fault: one line on the standard
       error says how
  2    the command line is at fault
  130  stopped by Ctrl-C; 'train' has saved its model

\b
Examples:
  lanewise train
  lanewise train --data photos --validation 0.2 --augment shift=2,flip
  lanewise predict lanewise-model.safetensors shirt.png""")
@click.version_option(__version__, prog_name="lanewise")
@click.pass_context
def main(ctx):
    """Train small CNNs on a CPU, fast: one sample per SIMD lane."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
