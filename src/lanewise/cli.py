"""The command: lanewise train, predict, info."""
import errno
import math
import os
import platform
import tempfile
import time
from contextlib import contextmanager

import click
import numpy as np

from . import __version__, _isa, data, io, nn, optim, threads
from .callbacks import ProgressBar
from .errors import DataError, DtypeError, NonFiniteError, WeightsError
from .models import MODELS
from .rng import manual_seed
from .train import Trainer

MISTAKES = (DtypeError, ValueError)                    # ValueError: lanewise's other errors are of it
# set: (model, epochs, batch size, rate for Adam, rate for SGD); the rates are the top of a one-cycle schedule
DEFAULTS = {"fashion-mnist-mini": ("lenet5", 20, 32, 3e-3, 0.05), "fashion-mnist": ("lenet5", 10, 128, 6e-3, 0.1),
            "mnist": ("lenet5", 5, 128, 6e-3, 0.1), "cifar-10": ("cifar_cnn", 5, 128, 4e-3, 0.1)}


def cpu_name():
    """The processor's name as the system gives it."""
    try:
        with open("/proc/cpuinfo") as f:
            return next(line.split(":", 1)[1].strip() for line in f if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def machine():
    """One line: processor, build, threads."""
    n = threads.get_num_threads()
    level = f"x86-64-{_isa.isa}" if _isa.LEVEL else _isa.isa
    return f"{cpu_name()}, {level} ({_isa.engine('float32').lanes} lanes), {n} thread{'s' * (n > 1)}"


class Mistake(click.ClickException):
    """One line on the standard error, and an exit status: 2 for a wrong command line, 1 for all else."""

    def __init__(self, message, exit_code=1):
        super().__init__(" ".join(message.split()))
        self.exit_code = exit_code


@contextmanager
def one_line():
    """Turn a user's mistake into one line, without a traceback."""
    try:
        yield
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "lanewise"
        raise Mistake(f"{error.format_message().rstrip('.')} (see '{command} --help')", 2) from None
    except MISTAKES as error:
        raise Mistake(str(error)) from None
    except OSError as error:
        if error.errno == errno.EPIPE:                  # `lanewise info | head -1`: click ends quietly
            raise
        raise Mistake(f"{error.filename}: {error.strerror}" if error.filename else str(error)) from None


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


def finite(ctx, param, value):
    """An option's number, which must not be NaN or infinite."""
    if value is not None and not math.isfinite(value):
        raise click.BadParameter(f"{value} is not a finite number.")
    return value


@click.group(cls=Mistakes, invoke_without_command=True, context_settings=dict(help_option_names=["-h", "--help"]))
@click.version_option(__version__, prog_name="lanewise")
@click.pass_context
def main(ctx):
    """Train small CNNs on a CPU, fast: one sample per SIMD lane."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


@main.command(epilog="""\b
Examples:
  lanewise train
  lanewise train --data mnist --epochs 3 --output digits.safetensors
  lanewise train --data cifar-10 --optimizer sgd --lr 0.05 --threads 2""")
@click.option("--data", "name", default="fashion-mnist-mini", show_default=True, type=click.Choice(list(data.SETS)),
              help="The data set; the first one is inside the package, README.md says how to get the others.")
@click.option("--model", type=click.Choice(list(MODELS)), metavar="NAME",
              help=f"The network: {', '.join(MODELS)}.  [default: lenet5; cifar_cnn for cifar-10]")
@click.option("--epochs", type=click.IntRange(1), help="Passes over the data.  [default: 20, 10, 5, 5 for the four sets]")
@click.option("--batch-size", type=click.IntRange(1), help="Images of a step.  [default: 32 for the first set, else 128]")
@click.option("--optimizer", type=click.Choice(["adam", "sgd"]), default="adam", show_default=True,
              help="sgd has Nesterov momentum 0.9 and weight decay 5e-4.")
@click.option("--lr", type=click.FloatRange(0, min_open=True), callback=finite,
              help="Learning rate, the top of a one-cycle schedule.  [default: by data set]")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of initial weights and shuffling.")
@click.option("--threads", "n_threads", type=click.IntRange(1, threads.MOST),
              help="Threads.  [default: what the machine allows]")
@click.option("--output", default="lanewise-model.safetensors", show_default=True, type=click.Path(dir_okay=False),
              help="Where the weights go; the history goes beside them as JSON.")
def train(name, model, epochs, batch_size, optimizer, lr, seed, n_threads, output):
    """Train a network on images and save it."""
    start = time.perf_counter()
    if n_threads:
        threads.set_num_threads(n_threads)
    folder = os.path.dirname(os.path.realpath(output))
    try:
        tempfile.TemporaryFile(dir=folder).close()      # now, not after the training
    except OSError as error:
        raise DataError(f"--output {output}: cannot write to the folder {folder} ({error.strerror})") from None
    if os.path.exists(output) and not os.path.isfile(output):
        raise DataError(f"--output {output}: expected the name of a file, got a device")
    preset = DEFAULTS[name]
    model, epochs, batch_size = model or preset[0], epochs or preset[1], batch_size or preset[2]
    lr = lr or preset[3 if optimizer == "adam" else 4]
    manual_seed(seed)
    training, test = data.load(name)
    shape = dict(channels=training.shape[0], size=training.shape[1], classes=training.n_classes)
    net, loss_fn = MODELS[model](**shape), nn.CrossEntropyLoss()
    opt = optim.Adam(net.parameters(), lr) if optimizer == "adam" else \
        optim.SGD(net.parameters(), lr, momentum=0.9, nesterov=True, weight_decay=5e-4)
    steps = -(-len(training) // batch_size)
    schedule = optim.OneCycleLR(opt, lr, total_steps=epochs * steps)
    trainer = Trainer(net, loss_fn, opt)
    click.echo(f"machine   {machine()}")
    click.echo(f"data      {name}: {len(training):,} + {len(test):,} test images, "
               f"{'x'.join(map(str, training.shape))}, {training.n_classes} classes")
    click.echo(f"model     {model}, {sum(p.data.size for p in net.parameters()):,} parameters; {optimizer}, one-cycle rate "
               f"{lr:g}, batches of {batch_size}")
    first = trainer.evaluate(test)["loss"]
    click.echo(f"start     loss {first:.4f} before training; guessing gives log({training.n_classes}) = "
               f"{math.log(training.n_classes):.4f}")
    report, stopped, failed = ProgressBar(unit="images"), False, None
    began = time.perf_counter()
    try:
        trainer.fit(training, epochs, batch_size, schedule=schedule, rng=seed, callbacks=[report])
    except KeyboardInterrupt:
        stopped = True
    except NonFiniteError as error:
        failed = error
    seconds = time.perf_counter() - began
    result = trainer.evaluate(test)
    if stopped or failed:
        click.echo("stopped   " + ("by Ctrl-C: the weights of the last step are kept" if stopped else str(failed)))
    click.secho(f"test      accuracy {100 * result['accuracy']:.2f} %, loss {result['loss']:.4f}", bold=True)
    history = output[:-len(".safetensors")] if output.endswith(".safetensors") else output
    history += ".history.json"
    io.save(net, output, dict(model=model, shape=shape, mean=training.mean, std=training.std, classes=training.classes))
    io.save_json(history, dict(data=name, model=model, optimizer=optimizer, lr=lr, epochs=epochs, batch_size=batch_size,
                               seed=seed, machine=machine(), initial_loss=first, seconds=seconds, test=result,
                               history={k: v for k, v in trainer.history.items() if v}))
    click.echo(f"saved     {output}, {history}")
    click.echo(f"time      {seconds:.2f} s for {report.done:,} images, {report.done / max(seconds, 1e-9):,.0f} images/s; "
               f"{time.perf_counter() - start:.2f} s in all")
    if stopped or failed:
        raise SystemExit(130 if stopped else 1)


@main.command()
@click.argument("model", type=click.Path(dir_okay=False))
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True, type=click.Path(dir_okay=False))
def predict(model, images):
    """Classify image files with a saved MODEL."""
    net, about = io.load(model), io.read(model)[1]
    try:
        channels, size = (int(about["shape"][k]) for k in ("channels", "size"))
        mean, std = about["mean"], about["std"]
    except (KeyError, TypeError, ValueError):
        raise WeightsError(f"{model}: expected a model that 'lanewise train' saved, got one without its images' shape, mean "
                           f"and std") from None
    x = np.stack([_image(path, channels, size) for path in images])
    ds = data.Dataset(x, np.zeros(len(x), np.int64), mean, std)
    scores = Trainer(nn.Sequential(net, nn.Softmax(1)), None).predict(ds)
    for path, p in zip(images, scores):
        best = np.argsort(-p)[:3]
        names = about.get("classes") or [str(i) for i in range(len(p))]
        click.echo(f"{path}: " + ", ".join(f"{names[i]} {100 * p[i]:.1f} %" for i in best))


def _image(path, channels, size):
    from PIL import Image, UnidentifiedImageError
    try:
        with Image.open(path) as file:
            file = file.convert("L" if channels == 1 else "RGB").resize((size, size), Image.Resampling.BILINEAR)
            return np.asarray(file, np.uint8).reshape(size, size, channels).transpose(2, 0, 1)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError):
        raise DataError(f"{path}: expected an image file, got another format or a truncated one") from None


@main.command()
def info():
    """Show the machine, the kernels' builds and the data sets."""
    click.echo(f"lanewise  {__version__}")
    click.echo(f"machine   {machine()}")
    click.echo(f"builds    {', '.join(_isa.supported())} can run here; LANEWISE_ISA forces one")
    click.echo(f"numpy     {np.__version__}, Python {platform.python_version()}")
    click.echo(f"data      {data.home()}")
    for name in data.SETS:
        click.echo(f"          {name}: {data.where(name) or 'not here'}")


if __name__ == "__main__":
    main()
