"""lanewise train."""
import math
import os
import sys
import time
from contextlib import redirect_stdout

import click
import numpy as np

from .. import data, io, nn, optim
from ..callbacks import Callback, CSVLogger, EarlyStopping, ProgressBar, TensorBoard
from ..errors import DataError, NonFiniteError, ShapeError, WeightsError
from ..models import MODELS
from ..rng import manual_seed
from ..train import Trainer
from . import saved, settings, sources
from .machine import machine
from .main import HELP
from .options import SIZE, AugmentType, Real, Whole, dims, emit, finite, json_option, threads_option, writable

# set: (model, epochs, batch size, rate for Adam, rate for SGD); the rates are the top of a one-cycle schedule
DEFAULTS = {"fashion-mnist-mini": ("lenet5", 20, 32, 3e-3, 0.05), "fashion-mnist": ("lenet5", 10, 128, 6e-3, 0.1),
            "mnist": ("lenet5", 5, 128, 6e-3, 0.1), "cifar-10": ("cifar_cnn", 5, 128, 4e-3, 0.1)}
HELD_OUT = 0.2                  # of data that come in one part
LABEL = {"validation": "validate", "test": "test"}


def preset(name, training):
    """The row of DEFAULTS for a set, or for data of one's own."""
    own = ("lenet5" if training.shape[0] == 1 else "cifar_cnn", 20, 32 if len(training) <= 10_000 else 128, 3e-3, 0.05)
    return DEFAULTS.get(name, own)


class Lines(ProgressBar):
    """Epochs in lines that fit 80 columns with validation too: loss training / validation, accuracy likewise."""

    def _line(self, epoch, logs):
        text = super()._line(epoch, {k: v for k, v in logs.items() if not k.startswith("val_")})
        if "val_loss" in logs:
            text = text.replace("  accuracy", f" / {logs['val_loss']:.4f}  accuracy")
            text = text.replace(" %", f" / {100 * logs['val_accuracy']:.1f} %")
        return text


class Settings(Callback):
    """Keeps the options of a run in its checkpoint."""

    def __init__(self, options):
        self.options = {name: settings.plain(value) for name, value in options.items()}

    def state_dict(self):
        """The options."""
        return self.options

    def check(self, path):
        """ValueError for the checkpoint of a run of other options, DataError for one that is not the command's."""
        found, place = self.read(path)
        for name, value in self.options.items():
            if found.get(name) != value:
                option, (was, now) = f"--{name.replace('_', '-')}", map(settings.text, (found.get(name), value))
                began = f"{option} {was}, with" if was else f"no {option}, without"
                raise ValueError(f"{path}: expected {began} which the run began, got {now or f'no {option}'}")
        return place

    @classmethod
    def read(cls, path):
        """(options, place) of the run in a checkpoint. DataError for one that is not the command's."""
        run = io.read(path)[1].get("metadata")
        states = run.get("callbacks") if isinstance(run, dict) else None
        found = next((state for name, state in states or () if name == cls.__name__), None)
        if found is None:
            raise DataError(f"{path}: expected the checkpoint of a run, which 'lanewise train --checkpoint' writes, got "
                            f"another file")
        return found, run["place"]


@click.command(context_settings=HELP, epilog="""\b
Examples:
  lanewise train
  lanewise train --data mnist --epochs 3 --output digits.safetensors
  lanewise train --data cifar-10 --optimizer sgd --lr 0.05 --threads 2
  lanewise train --model resnet8 --batch-size 64
  lanewise train --data photos --size 32 --augment shift=2,flip,rotate=10
  lanewise train --validation 0.2 --early-stopping 3 --csv-log log.csv
  lanewise train --epochs 200 --checkpoint run.ckpt --every 500 --resume
  lanewise train --tensorboard events --json > result.json
  lanewise train --epochs 30 --save-config run.json
  lanewise train --config run.json --seed 1""")
@click.option("--data", "name", type=sources.TYPE, default="fashion-mnist-mini", show_default=True, metavar="NAME|PATH",
              help=f"{sources.HELP} The first name is inside the package, README.md says how to get the others.")
@click.option("--size", type=SIZE, metavar="H[xW]", help="Resize the images of a folder to this height and width.")
@click.option("--validation", type=Real(0, 1, min_open=True, max_open=True), callback=finite, metavar="FRACTION",
              help="Validate with this share of the training images, of each class alike.  [default: 0.2 for data in one part, "
                   "else none]")
@click.option("--augment", type=AugmentType(), metavar="CHANGES",
              help="Change training images at random: a list of shift=PIXELS, flip, rotate=DEGREES, scale=LOW:HIGH, "
                   "cutout=PIXELS, brightness=B, contrast=C, mixup=A, and pad=zero, edge or reflect for what comes in from "
                   "outside.")
@click.option("--model", type=click.Choice(list(MODELS)), metavar="NAME",
              help=f"The network: {', '.join(MODELS)}.  [default: lenet5; cifar_cnn for colours]")
@click.option("--epochs", type=Whole(1),
              help="Passes over the data.  [default: 20, 10, 5, 5 for the four sets, 20 for others]")
@click.option("--batch-size", type=Whole(1),
              help="Images of a step.  [default: 32 for the first set and up to 10,000 images of one's own, else 128]")
@click.option("--optimizer", type=click.Choice(["adam", "sgd"]), default="adam", show_default=True,
              help="sgd has Nesterov momentum 0.9 and weight decay 5e-4.")
@click.option("--lr", type=Real(0, min_open=True), callback=finite,
              help="Learning rate, the top of a one-cycle schedule.  [default: by data set]")
@click.option("--early-stopping", type=Whole(1), metavar="N",
              help="Stop when the validation loss has not fallen for N epochs, and keep the weights of the best one.")
@click.option("--seed", type=Whole(0), default=0, show_default=True,
              help="Of initial weights, shuffling, the split and random changes.")
@threads_option
@click.option("--checkpoint", type=click.Path(dir_okay=False), metavar="FILE",
              help="Keep the whole run in this file, written after every epoch.")
@click.option("--every", type=Whole(1), metavar="STEPS",
              help="Write the checkpoint after so many steps of an epoch too.")
@click.option("--resume", is_flag=True,
              help="Go on from the checkpoint, if it is there, to the same weights as a run never stopped.")
@click.option("--csv-log", type=click.Path(dir_okay=False), metavar="FILE", help="A line for each epoch in a CSV file.")
@click.option("--tensorboard", type=click.Path(file_okay=False), metavar="FOLDER",
              help="Event files for TensorBoard (needs lanewise[tensorboard]).")
@click.option("--output", default="lanewise-model.safetensors", show_default=True, type=click.Path(dir_okay=False),
              help="Where the weights go, as safetensors, or as NumPy's archive by the ending .npz; the history goes beside "
                   "them as JSON.")
@click.option("--config", type=click.Path(dir_okay=False), metavar="FILE", is_eager=True, expose_value=False,
              callback=settings.read, help="Options from a JSON or (Python 3.11 on) TOML file, keys as here without dashes; "
                                           "the command line wins.")
@click.option("--save-config", type=click.Path(dir_okay=False), metavar="FILE",
              help="Write the options of this run as JSON, for --config.")
@json_option
def train(as_json, **options):
    """Train a network on images and save it."""
    with redirect_stdout(sys.stderr if as_json else sys.stdout):
        found, code = _train(**options)
    if as_json:
        emit(found)
    if code:
        raise SystemExit(code)


def _train(name, size, validation, augment, model, epochs, batch_size, optimizer, lr, early_stopping, seed, checkpoint, every,
           resume, csv_log, tensorboard, output, save_config):
    """(what --json prints, exit status)."""
    start = time.perf_counter()
    _check_files(name, output, checkpoint, every, resume, csv_log, tensorboard, save_config)
    parts = sources.load(name, size)
    training, validation = _split(parts, name, validation, early_stopping, seed)
    measured = {part: parts[part] for part in ("validation", "test") if part in parts}
    choice = preset(name, training)
    model, epochs, batch_size = model or choice[0], epochs or choice[1], batch_size or choice[2]
    lr = lr or choice[3 if optimizer == "adam" else 4]
    chosen = dict(data=name, size=size, validation=validation, augment=augment, model=model, epochs=epochs,
                  batch_size=batch_size, optimizer=optimizer, lr=lr, early_stopping=early_stopping, seed=seed)
    if save_config:
        settings.write(save_config, {**chosen, "checkpoint": checkpoint, "every": every, "csv_log": csv_log,
                                     "tensorboard": tensorboard, "output": output})
    manual_seed(seed)
    net = network(model, training.shape, training.n_classes)
    opt = optim.Adam(net.parameters(), lr) if optimizer == "adam" else \
        optim.SGD(net.parameters(), lr, momentum=0.9, nesterov=True, weight_decay=5e-4)
    schedule = optim.OneCycleLR(opt, lr, total_steps=epochs * -(-len(training) // batch_size))
    trainer, training = Trainer(net, nn.CrossEntropyLoss(), opt), training.augmented(augment)
    report, run = Lines(unit="images"), Settings({**chosen, "csv_log": csv_log, "tensorboard": tensorboard})
    stopping = EarlyStopping("val_loss", patience=early_stopping, restore_best_weights=True) if early_stopping else None
    place = run.check(checkpoint) if resume and os.path.exists(checkpoint) else None
    counts = [f"{len(training):,}", *(f"{len(d):,} {part}" for part, d in measured.items())]
    click.echo(f"machine   {machine()}")
    click.echo(f"data      {click.format_filename(name)}: {' + '.join(counts)} images, {dims(training.shape)}, "
               f"{training.n_classes} classes")
    click.echo(f"model     {model}, {saved.parameters(net):,} parameters; {optimizer}, one-cycle rate {lr:g}, "
               f"batches of {batch_size}")
    last = list(measured)[-1]
    first = trainer.evaluate(measured[last])["loss"]
    click.echo(f"start     loss {first:.4f} before training; guessing gives log({training.n_classes}) = "
               f"{math.log(training.n_classes):.4f}")
    if place:
        click.echo(f"resumed   {checkpoint}, after {place['epoch']} epochs"
                   + f" and {place['step']} steps" * bool(place["step"]))
    if "validation" in measured:
        click.echo("epochs    training / validation")
    callbacks = [run, stopping, csv_log and CSVLogger(csv_log), tensorboard and TensorBoard(tensorboard), report]
    began = time.perf_counter()
    ended, code = _fit(trainer, stopping, training, epochs, batch_size, measured.get("validation"), schedule=schedule, rng=seed,
                       callbacks=[c for c in callbacks if c], checkpoint=checkpoint, every=every or "epoch", resume=resume)
    seconds = time.perf_counter() - began
    results = {part: trainer.evaluate(d) for part, d in measured.items()}
    if ended:
        click.echo(f"stopped   {ended}", err=code == 1)
    for part, result in results.items():
        click.secho(f"{LABEL[part]:<10}accuracy {100 * result['accuracy']:.2f} %, loss {result['loss']:.4f}",
                    bold=part == last or None)
    history = beside(output)
    io.save(net, output, saved.about(training, model))
    io.save_json(history, {**{k: settings.plain(v) for k, v in chosen.items()}, "machine": machine(), "initial_loss": first,
                           "seconds": seconds, "test": results.get("test"), "validated": results.get("validation"),
                           "history": {k: v for k, v in trainer.history.items() if v}})
    click.echo(f"saved     {output}, {history}")
    click.echo(f"time      {seconds:.2f} s for {report.done:,} images, {report.done / max(seconds, 1e-9):,.0f} images/s; "
               f"{time.perf_counter() - start:.2f} s in all")
    if checkpoint and code == 130:
        click.echo(f"go on     with the same command and --resume, from {checkpoint}")
    kept = {k: trainer.history[k][-1] for k in ("loss", "accuracy") if trainer.history.get(k)}
    return dict(model=output, history=history, checkpoint=checkpoint, data=name, network=model,
                parameters=saved.parameters(net), epochs=len(trainer.history.get("loss", ())), images=report.done,
                seconds=seconds, stopped=ended,
                metrics={"training": kept or None, **{part: results.get(part) for part in LABEL}}), code


def _fit(trainer, stopping, *args, **kw):
    """(how training ended before its time or None, exit status)."""
    try:
        trainer.fit(*args, **kw)
    except KeyboardInterrupt:
        return "by Ctrl-C: the weights of the last step are kept", 130
    except NonFiniteError as error:
        return str(error), 1
    if not stopping or not stopping.stopped_epoch:
        return None, 0
    return f"early after epoch {stopping.stopped_epoch + 1}: the weights of epoch {stopping.best_epoch + 1} are kept", 0


def beside(output):
    """The history's file, beside the weights'."""
    return (output[:-len(".safetensors")] if output.endswith(".safetensors") else output) + ".history.json"


def _check_files(name, output, checkpoint, every, resume, csv_log, tensorboard, save_config):
    """All that would fail after the training fails now."""
    ending = os.path.splitext(output)[1].lower()
    if ending not in ("", ".npz", ".safetensors"):
        raise click.UsageError(f"--output expected a name that ends in .safetensors or .npz, or has no ending, got {output}.")
    if (resume or every) and not checkpoint:
        raise click.UsageError(f"{'--resume' if resume else '--every'} expected --checkpoint FILE beside it.")
    named = {"--output": output, "--checkpoint": checkpoint, "--csv-log": csv_log, "--save-config": save_config}
    taken = {}
    for option, path in {"--data": name if os.path.exists(name) else None, "--tensorboard": tensorboard, **named,
                         "the history of --output": beside(output)}.items():
        if path:
            other = taken.setdefault(os.path.normcase(os.path.realpath(path)), option)
            if other != option:
                raise click.UsageError(f"{option} expected another file than {other}, got {path} for both.")
    for option, path in named.items():
        if path:
            writable(option, path)
    writable("--output", beside(output))
    if checkpoint and not resume and os.path.exists(checkpoint):
        try:
            Settings.read(checkpoint)
        except (DataError, WeightsError):
            raise DataError(f"--checkpoint {checkpoint}: expected a file to write a run into, got another file that is there "
                            f"already: give another name, or remove it") from None
        raise DataError(f"--checkpoint {checkpoint}: there is a run in it: give --resume to go on from it, or remove it to "
                        f"begin anew")
    if tensorboard:
        TensorBoard(tensorboard).on_train_begin()       # ImportError where tensorboardX is not installed
        folder = os.path.realpath(tensorboard)
        while not os.path.exists(folder):               # folders are made
            folder = os.path.dirname(folder)
        writable("--tensorboard", os.path.join(folder, "events"))


def _split(parts, name, fraction, early_stopping, seed):
    """(training, the fraction that was split off or None); puts the two parts of a split among `parts`."""
    if "training" not in parts:
        raise DataError(f"--data {name}: expected a part to train on, got {' and '.join(parts)} alone")
    if fraction and "validation" in parts:
        raise DataError(f"--data {name}: --validation {fraction:g} expected data without a part for validation, got one with")
    if len(parts) == 1:
        fraction = fraction or HELD_OUT
    elif early_stopping and not fraction and "validation" not in parts:
        raise click.UsageError("--early-stopping expected images to validate with: give --validation FRACTION.")
    training = parts["training"]
    if sources.classes(training, name) < 2:
        raise DataError(f"--data {name}: expected two classes or more, got one")
    if fraction:
        try:
            training, parts["validation"] = data.split(training, fraction, seed)
        except ValueError as error:
            raise DataError(f"--validation {fraction:g}: {str(error).replace(': pass stratify=False', '')}") from None
        parts["training"] = training
    return training, fraction


def network(model, shape, classes):
    """The network of a name for images (C, H, W). ShapeError for one that cannot take them."""
    channels, height, width = shape
    try:
        net = MODELS[model](channels=channels, size=height, classes=classes)
        net(np.zeros((1, *shape), np.float32))
    except (ValueError, ZeroDivisionError) as error:
        reason = str(error) if height == width else "it takes square ones"
        raise ShapeError(f"{model} cannot take images of {dims(shape)} ({reason}): give them another size, or take another "
                         f"model, as resnet8") from None
    return net
