"""lanewise evaluate."""
import click
import numpy as np

from .. import metrics, nn, plot
from ..errors import in_line
from ..summary import aligned
from ..train import Trainer
from . import saved, sources
from .main import HELP
from .options import Picture, dims, emit, json_option, percent, threads_option

MEASURES = ("precision", "recall", "f1")


@click.command(context_settings=HELP, epilog="""\b
Examples:
  lanewise evaluate lanewise-model.safetensors --data mnist --threads 1
  lanewise evaluate lanewise-model.safetensors --data photos/test --json
  lanewise evaluate lanewise-model.safetensors --data photos \\
      --part validation --confusion confusion.png""")
@click.argument("model", type=click.Path(dir_okay=False))
@click.option("--data", "where", type=sources.TYPE, required=True, metavar="NAME|PATH", help=sources.HELP)
@click.option("--part", type=click.Choice(sources.ORDER),
              help="Of data in parts, this one.  [default: test, else validation, else all there is]")
@click.option("--confusion", type=click.Path(dir_okay=False), metavar="FILE",
              help="Draw the confusion matrix, as .png, .pdf or .svg (needs lanewise[plot]).")
@threads_option
@json_option
def evaluate(model, where, part, confusion, as_json):
    """Measure a saved MODEL on labelled images.

    Loss and accuracy, and of each class precision, recall and F1, which need lanewise[sklearn]; their mean is over the classes
    that have images. Images of a folder, which may lack some of the model's classes, are converted to its size and channels."""
    picture = Picture("--confusion", confusion) if confusion else None
    net, like, _ = saved.read(model)
    (part, found), = sources.load(where, like=like, only=(part,) if part else sources.ORDER[::-1]).items()
    trainer = Trainer(net, nn.CrossEntropyLoss())
    result, answers = trainer.evaluate(found), trainer.predict(found).argmax(1)
    counts, rows, missing = np.bincount(found.labels, minlength=len(like.classes)), None, None
    try:
        each = [getattr(metrics, name)(found.labels, answers, average=None, labels=range(len(like.classes)))
                for name in MEASURES]
        rows = [{"class": name, "images": int(n), **dict(zip(MEASURES, map(float, values)))}
                for name, n, *values in zip(like.classes, counts, *each)]
    except ImportError:
        missing = "precision, recall and F1 of each class need scikit-learn: pip install \"lanewise[sklearn]\""
    if picture:
        plot.confusion(answers, found.labels, names=like.classes, ax=picture.figure.subplots())
        picture.save()
    if as_json:
        emit(dict(model=model, data=where, part=part, images=len(found), **result, classes=rows, confusion=confusion))
    else:
        click.echo(f"data      {click.format_filename(where)}, {part} part: {len(found):,} images, {dims(found.shape)}")
        click.secho(f"result    accuracy {100 * result['accuracy']:.2f} %, loss {result['loss']:.4f}", bold=True)
        if rows:
            mean = {"class": "mean", "images": len(found),
                    **{k: float(np.mean([r[k] for r in rows if r["images"]])) for k in MEASURES}}
            lines = [[in_line(r["class"]), f"{r['images']:,}", *(percent(r[k]) for k in MEASURES)] for r in (*rows, mean)]
            click.echo("\n" + "\n".join(aligned([["class", "images", "precision", "recall", "F1"], *lines], 1)))
        if picture:
            click.echo(f"saved     {click.format_filename(confusion)}")
    if missing:
        click.echo(f"Note: {missing}", err=True)
