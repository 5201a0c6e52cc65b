"""lanewise data list, fetch, show."""
import click
import numpy as np

from .. import data as library
from .. import plot
from ..errors import in_line
from ..summary import aligned
from . import sources
from .main import HELP
from .options import SIZE, Picture, dims, emit, json_option


def places():
    """{set: where it is, or None}, and each folder."""
    return {name: dict(state=library.where(name), folder=None if library.where(name) == "in the package" else
                       str(library.home() / name)) for name in library.SETS}


@click.group(context_settings=HELP, invoke_without_command=True, epilog="""\b
Examples:
  lanewise data list
  lanewise data fetch mnist
  lanewise data show photos --plot samples.png""")
@click.pass_context
def data(ctx):
    """List, fetch and look at data sets."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


@data.command("list", context_settings=HELP, epilog="""\b
Example:
  lanewise data list --json""")
@json_option
def list_sets(as_json):
    """List the sets that have a name, and where they are."""
    found = places()
    if as_json:
        emit(dict(home=str(library.home()), sets=found))
    else:
        rows = [[name, p["state"] or "not here", p["folder"] or ""] for name, p in found.items()]
        click.echo("\n".join(aligned(rows, 3)))


@data.command(context_settings=HELP, epilog="""\b
Examples:
  lanewise data fetch mnist
  lanewise data fetch fashion-mnist --json
  LANEWISE_DATA=/srv/data lanewise data fetch cifar-10""")
@click.argument("name", metavar="NAME", type=click.Choice(list(library.SETS)))
@json_option
def fetch(name, as_json):
    """Download the set NAME, where it is not here yet.

    NAME is one of 'lanewise data list'. Needs lanewise[data]. Checksums are verified; the folder is LANEWISE_DATA's, or
    ~/.cache/lanewise."""
    before = library.where(name)
    training, test = library.load(name)
    if as_json:
        emit(dict(name=name, **places()[name], fetched=before is None, shape=list(training.shape),
                  parts={"training": len(training), "test": len(test)}))
        return
    what = {"in the package": "is in the package", "here": f"is already in {library.home() / name}"}
    click.echo(f"{name}    {what.get(before, f'was fetched to {library.home() / name}')}: {len(training):,} + "
               f"{len(test):,} test images, {dims(training.shape)}")


@data.command(context_settings=HELP, epilog="""\b
Examples:
  lanewise data show fashion-mnist-mini --json
  lanewise data show photos --size 32 --plot samples.png""")
@click.argument("where", metavar="NAME|PATH", type=sources.TYPE)
@click.option("--size", type=SIZE, metavar="H[xW]", help="Resize the images of a folder to this height and width.")
@click.option("--plot", "path", type=click.Path(dir_okay=False), metavar="FILE",
              help="Draw some images with their classes, as .png, .pdf or .svg (needs lanewise[plot]).")
@json_option
def show(where, size, path, as_json):
    """Show what is in a set or at a path: classes, counts, shape, pixels.

    NAME|PATH is what 'lanewise train --data' takes. Mean and deviation are those of the pixels of the first part, from 0 to 1
    for uint8 images."""
    picture = Picture("--plot", path, 8.0, 6.0) if path else None
    parts = sources.load(where, size)
    first = next(iter(parts.values()))
    n = max(part._count() for part in parts.values())
    names = first.classes or [str(i) for i in range(n)]
    counts = {part: np.bincount(d.labels, minlength=n).tolist() for part, d in parts.items()}
    mean, std = (numbers.tolist() for numbers in library.statistics(first.images))
    if picture:
        plot.samples(first, 40, fig=picture.figure)
        picture.save()
    if as_json:
        emit(dict(data=where, shape=list(first.shape), type=str(first.images.dtype), mean=mean, std=std, classes=names,
                  parts={part: dict(images=len(d), counts=counts[part]) for part, d in parts.items()}))
        return
    click.echo(f"data      {click.format_filename(where)}: {dims(first.shape)} images of {first.images.dtype}, {n} classes")
    click.echo(f"pixels    mean {', '.join(f'{m:.4f}' for m in mean)}; standard deviation {', '.join(f'{s:.4f}' for s in std)}")
    rows = [[in_line(name), *(f"{counts[part][i]:,}" for part in parts)] for i, name in enumerate(names)]
    total = ["all", *(f"{len(d):,}" for d in parts.values())]
    click.echo("\n" + "\n".join(aligned([["class", *parts], *rows, total], 1)))
    if picture:
        click.echo(f"saved     {click.format_filename(path)}")
