"""lanewise info."""
import platform

import click
import numpy as np

from .. import __version__, _isa, data, threads
from .machine import cpu_name, level, machine
from .main import HELP
from .options import emit, json_option
from .sets import places


@click.command(context_settings=HELP, epilog="""\b
Examples:
  lanewise info
  lanewise info --json""")
@json_option
def info(as_json):
    """Show the machine, the kernels' builds and the data sets."""
    if as_json:
        emit(dict(lanewise=__version__, cpu=cpu_name(), build=level(), lanes=_isa.engine("float32").lanes,
                  threads=threads.get_num_threads(), builds=_isa.supported(), numpy=np.__version__,
                  python=platform.python_version(), data=str(data.home()), sets=places()))
        return
    click.echo(f"lanewise  {__version__}")
    click.echo(f"machine   {machine()}")
    click.echo(f"builds    {', '.join(_isa.supported())} can run here; LANEWISE_ISA forces one")
    click.echo(f"numpy     {np.__version__}, Python {platform.python_version()}")
    click.echo(f"data      {data.home()}")
    for name in data.SETS:
        click.echo(f"          {name}: {data.where(name) or 'not here'}")
