"""lanewise predict."""
import csv
from concurrent.futures import ThreadPoolExecutor
from io import StringIO
from pathlib import Path

import click
import numpy as np

from .. import data, io, nn
from ..data.folder import _read, endings
from ..errors import DataError, in_line
from ..train import Trainer
from . import saved
from .main import HELP
from .options import Whole, emit, json_option, percent, writable

AT_ONCE = 512                   # images in memory


@click.command(context_settings=HELP, epilog="""\b
Examples:
  lanewise predict lanewise-model.safetensors shirt.png bag.png
  lanewise predict lanewise-model.safetensors photos --csv classes.csv
  lanewise predict lanewise-model.safetensors shirt.png --top 1 --json""")
@click.argument("model", type=click.Path(dir_okay=False))
@click.argument("images", metavar="IMAGE|FOLDER...", nargs=-1, required=True, type=click.Path())
@click.option("--top", type=Whole(1), default=3, show_default=True, metavar="K",
              help="How many classes of each image.")
@click.option("--csv", "table", type=click.Path(dir_okay=False), metavar="FILE",
              help="Write file, class, probability, and every class's probability, a line an image, instead.")
@json_option
def predict(model, images, top, table, as_json):
    """Classify images with a saved MODEL.

    An IMAGE is any picture that Pillow reads, converted to the model's size and channels; of a FOLDER all below it count,
    sorted."""
    if table:
        writable("--csv", table)
    net, like, _ = saved.read(model)
    if like.mean is None:
        raise DataError(f"{model}: expected a model that was trained on uint8 images, as files have them, got one that was "
                        f"trained on floating-point numbers")
    files = [file for path in images for file in _files(Path(path))]
    classifier, found = Trainer(nn.Sequential(net, nn.Softmax(1)), None), []
    with ThreadPoolExecutor() as pool:                  # Pillow decodes without the GIL
        for at in range(0, len(files), AT_ONCE):
            some = files[at:at + AT_ONCE]
            x = np.empty((len(some), like.channels, *like.size), np.uint8)
            list(pool.map(lambda image, file: _read(image, file, like.size), x, some))
            found.append(classifier.predict(data.Dataset(x, np.zeros(len(x), np.int64), like.mean, like.std)))
    scores, names = np.concatenate(found), like.classes
    order = np.argsort(-scores, axis=1, kind="stable")[:, :top]
    if table:
        io.write_whole(table, _table(files, names, scores, order))
    if as_json:
        emit(dict(model=model, classes=names, images=[dict(file=str(file), classes=[
            {"class": names[i], "probability": float(p[i])} for i in best]) for file, p, best in zip(files, scores, order)]))
    elif table:
        click.echo(f"saved     {click.format_filename(table)}: {len(files):,} image{'s' * (len(files) > 1)}")
    else:
        for file, p, best in zip(files, scores, order):
            click.echo(f"{in_line(click.format_filename(file))}: " +
                       ", ".join(f"{in_line(names[i])} {percent(p[i])}" for i in best))


def _files(path):
    """The files that an argument names."""
    if not path.is_dir():
        if not path.exists():
            raise DataError(f"{path}: no such file")
        return [path]
    found = sorted(f for f in path.rglob("*") if f.suffix.lower() in endings() and f.is_file()
                   and not any(part.startswith(".") for part in f.relative_to(path).parts))
    if not found:
        raise DataError(f"{path}: expected images (png, jpg or another format that Pillow opens), got none")
    return found


def _table(files, names, scores, order):
    out = StringIO()
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow(["file", "class", "probability", *names])
    for file, p, best in zip(files, scores, order):
        rows.writerow([str(file), names[best[0]], *(f"{v:.6g}" for v in (p[best[0]], *p))])
    return out.getvalue().encode("utf-8", "surrogateescape")
