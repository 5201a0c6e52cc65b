"""lanewise export."""
import os
from pathlib import Path

import click

from .. import io, onnx
from . import saved
from .main import HELP
from .options import Whole, dims, emit, json_option, writable


@click.command(context_settings=HELP, epilog="""\b
Examples:
  lanewise export lanewise-model.safetensors model.onnx
  lanewise export lanewise-model.safetensors model.onnx --batch 1 --opset 18
  lanewise export lanewise-model.safetensors model.npz --json""")
@click.argument("model", type=click.Path(dir_okay=False))
@click.argument("out", type=click.Path(dir_okay=False))
@click.option("--opset", type=Whole(onnx.FIRST_OPSET), metavar="N",
              help=f"ONNX's version of the operations.  [default: {onnx.FIRST_OPSET}]")
@click.option("--batch", type=Whole(1), metavar="N",
              help="Fix the images of a call of an .onnx file.  [default: any number]")
@json_option
def export(model, out, opset, batch, as_json):
    """Write a saved MODEL in another format, by the ending of OUT.

    .onnx for other programs (needs lanewise[onnx]): uint8 images (N, C, H, W) in, scores (N, classes) out, the normalisation is
    inside. .npz and .safetensors for lanewise, with all that 'predict' needs."""
    kind = Path(out).suffix.lower()
    if kind not in (".onnx", ".npz", ".safetensors"):
        raise click.UsageError(f"OUT expected a name that ends in .onnx, .npz or .safetensors, got {out}.")
    if kind != ".onnx" and (opset or batch):
        raise click.UsageError(f"{'--opset' if opset else '--batch'} expected an .onnx file to write, got {out}.")
    writable("OUT", out)
    net, like, about = saved.read(model)
    shape = (like.channels, *like.size)
    if kind == ".onnx":
        onnx.export(net, out, shape, opset=opset or onnx.FIRST_OPSET, batch=batch,
                    normalise=None if like.mean is None else (like.mean, like.std))
    else:
        io.save(net, out, about)
    if as_json:
        about = dict(opset=opset or onnx.FIRST_OPSET, batch=batch) if kind == ".onnx" else {}
        emit(dict(file=out, format=kind[1:], **about, model=model, shape=list(shape), classes=len(like.classes),
                  parameters=saved.parameters(net), bytes=os.path.getsize(out)))
        return
    click.echo(f"saved     {click.format_filename(out)}: {dims(shape)} images, {len(like.classes)} classes, "
               f"{saved.parameters(net):,} parameters")
