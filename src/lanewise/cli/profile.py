"""lanewise profile."""
import os

import click

from .. import nn, optim, plot
from ..errors import DataError
from ..models import MODELS
from ..profiling import profile as measure
from ..rng import manual_seed
from . import saved, sources
from .main import HELP
from .options import SHAPE, NameOrPath, Picture, Whole, dims, emit, json_option, threads_option
from .train import network

CLASSES = 10                    # of random labels


@click.command(context_settings=HELP, epilog="""\b
Examples:
  lanewise profile lenet5
  lanewise profile resnet20 --shape 3x32x32 --batch 64 --threads 1
  lanewise profile lanewise-model.safetensors --json
  lanewise profile cifar_cnn --data cifar-10 --plot profile.png""")
@click.argument("model", metavar="MODEL|NAME", type=NameOrPath(MODELS))
@click.option("--batch", type=Whole(1), default=128, show_default=True, metavar="N", help="Images of a step.")
@click.option("--data", "where", type=sources.TYPE, metavar="NAME|PATH", help=sources.HELP)
@click.option("--shape", type=SHAPE, metavar="CxHxW",
              help="Random images of this shape.  [default: the MODEL's; 1x28x28 for a NAME]")
@click.option("--plot", "path", type=click.Path(dir_okay=False), metavar="FILE",
              help="Draw it, as .png, .pdf or .svg (needs lanewise[plot]).")
@threads_option
@json_option
def profile(model, batch, where, shape, path, as_json):
    """Measure where a training step's time goes.

    Layer by layer, with the memory; of a saved MODEL, or of a network by its NAME, as 'train --help' lists them. The step is
    train's, with Adam; nothing is trained."""
    if where and shape:
        raise click.UsageError("--shape expected no --data beside it.")
    picture = Picture("--plot", path, 7.0, 5.0) if path else None
    like = None
    if model not in MODELS:
        if not os.path.exists(model):
            raise DataError(f"{model}: expected a saved model, or a network among {', '.join(MODELS)}, got a name "
                            f"that is neither")
        net, like, _ = saved.read(model)
    images = next(iter(sources.load(where, like=like, only=("training", "validation", "test")).values())) if where else None
    shape = images.shape if where else shape or ((like.channels, *like.size) if like else (1, 28, 28))
    if model in MODELS:
        manual_seed(0)
        net = network(model, shape, sources.classes(images, where) if where else CLASSES)
    result = measure(net, images if where else shape, nn.CrossEntropyLoss(), optim.Adam(net.parameters()), batch)
    if picture:
        plot.profile(result, ax=picture.figure.subplots())
        picture.save()
    if as_json:
        emit(dict(model=model, shape=list(shape), **result.to_dict()))
        return
    click.echo(f"{click.format_filename(model)}, {dims(shape)} images\n\n{result}")
    if picture:
        click.echo(f"saved     {click.format_filename(path)}")
