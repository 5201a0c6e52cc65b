"""The command: lanewise train, predict, info."""
import math
import os
import platform
import sys
import time

import click
import numpy as np

from . import __version__, _isa, data, io, nn, optim, threads
from .errors import DataError, DtypeError, LabelError, NonFiniteError, ShapeError, WeightsError
from .models import MODELS
from .rng import manual_seed
from .train import Trainer

MISTAKES = (DataError, DtypeError, LabelError, ShapeError, WeightsError, ValueError)
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
    level = f"x86-64-{_isa.isa}" if _isa.LEVEL else _isa.isa
    return f"{cpu_name()}, {level} ({_isa.engine('float32').lanes} lanes), {threads.get_num_threads()} threads"


class Report:
    """Progress: a live bar on a terminal, a line an epoch elsewhere."""

    def __init__(self, epochs, images):
        self.epochs, self.images, self.bar = epochs, images, None
        self.live, self.start, self.done, self.shown = sys.stderr.isatty(), time.perf_counter(), 0, 0.0
        self.last = None

    def __call__(self, epoch, step, steps, loss, accuracy, n):
        self.done += n
        now = time.perf_counter()
        self.last = (loss, accuracy)
        if self.live:
            if step == 0:
                from tqdm import tqdm
                self.close()
                self.bar = tqdm(total=self.images, unit=" images", leave=True, unit_scale=True, mininterval=0.05,
                                desc=f"epoch {epoch + 1:>{len(str(self.epochs))}}/{self.epochs}", dynamic_ncols=True)
            self.bar.update(n)
            if now - self.shown > 0.05 or step == steps - 1:
                self.bar.set_postfix_str(f"loss {loss:.4f}, accuracy {100 * accuracy:.1f} %", refresh=False)
                self.shown = now
        elif step == steps - 1:
            click.echo(f"epoch {epoch + 1}/{self.epochs}  loss {loss:.4f}  accuracy {100 * accuracy:.1f} %  "
                       f"{self.done / (now - self.start):,.0f} images/s")

    def close(self):
        """Finish the bar's line."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None


class Mistakes(click.Group):
    """A group whose commands turn a user's mistake into one line, without a traceback."""

    def invoke(self, ctx):
        try:
            return super().invoke(ctx)
        except (*MISTAKES, OSError) as error:
            raise click.ClickException(" ".join(str(error).split())) from None


@click.group(cls=Mistakes, context_settings=dict(help_option_names=["-h", "--help"]))
@click.version_option(__version__, prog_name="lanewise")
def main():
    """Train small CNNs on a CPU, fast: one sample per SIMD lane."""


@main.command()
@click.option("--data", "name", default="fashion-mnist-mini", show_default=True, type=click.Choice(list(data.SETS)),
              help="The data set; the first one is inside the package.")
@click.option("--model", type=click.Choice(list(MODELS)), help="Default: lenet5, for cifar-10 cifar_cnn.")
@click.option("--epochs", type=click.IntRange(1), help="Default: 20, 10, 5 and 5 for the four sets.")
@click.option("--batch-size", type=click.IntRange(1), help="Default: 32 for the first set, else 128.")
@click.option("--optimizer", type=click.Choice(["adam", "sgd"]), default="adam", show_default=True,
              help="sgd: Nesterov momentum 0.9, weight decay 5e-4.")
@click.option("--lr", type=click.FloatRange(0, min_open=True), help="Top of the one-cycle schedule; default by data set.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of initial weights and shuffling.")
@click.option("--threads", "n_threads", type=click.IntRange(1), help="Default: what the machine allows.")
@click.option("--output", default="lanewise-model.safetensors", show_default=True, type=click.Path(dir_okay=False),
              help="Where the weights go; the history goes beside them as JSON.")
def train(name, model, epochs, batch_size, optimizer, lr, seed, n_threads, output):
    """Train a network on images and save it."""
    start = time.perf_counter()
    if n_threads:
        threads.set_num_threads(n_threads)
    folder = os.path.dirname(os.path.abspath(output))
    if not os.access(folder, os.W_OK):
        raise DataError(f"--output {output}: the folder {folder} does not exist or cannot be written")
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
    click.echo(f"data      {name}: {len(training):,} training and {len(test):,} test images of "
               f"{'x'.join(map(str, training.shape))}, {training.n_classes} classes")
    click.echo(f"model     {model}, {sum(p.data.size for p in net.parameters()):,} parameters; {optimizer}, one-cycle rate "
               f"{lr:g}, batches of {batch_size}")
    first = trainer.evaluate(test)["loss"]
    click.echo(f"start     loss {first:.4f} before training; guessing gives log({training.n_classes}) = "
               f"{math.log(training.n_classes):.4f}")
    report, stopped, failed = Report(epochs, len(training)), False, None
    began = time.perf_counter()
    try:
        trainer.fit(training, epochs, batch_size, schedule=schedule, rng=seed, on_step=report)
    except KeyboardInterrupt:
        stopped = True
    except NonFiniteError as error:
        failed = error
    finally:
        report.close()
    seconds = time.perf_counter() - began
    result = trainer.evaluate(test)
    if stopped or failed:
        click.echo(f"stopped   {'by Ctrl-C' if stopped else failed}; the weights of the last good step are kept")
    click.echo(f"test      loss {result['loss']:.4f}, accuracy {100 * result['accuracy']:.2f} %")
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
@click.argument("images", nargs=-1, required=True, type=click.Path(dir_okay=False))
def predict(model, images):
    """Classify image files with a saved MODEL."""
    state, about = io.read(model)
    if about.get("model") not in MODELS:
        raise WeightsError(f"{model}: expected a model that 'lanewise train' saved, got weights without a model's name")
    shape = about["shape"]
    net = MODELS[about["model"]](**shape)
    net.load_state_dict(state)
    x = np.stack([_image(path, shape["channels"], shape["size"]) for path in images])
    ds = data.Dataset(x, np.zeros(len(x), np.int64), about["mean"], about["std"])
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
    except (UnidentifiedImageError, OSError):
        raise DataError(f"{path}: expected an image file, got another format or a truncated one") from None


@main.command()
def info():
    """Show the machine, the build of the kernels, the thread limits, and which data sets are there."""
    click.echo(f"lanewise  {__version__}")
    click.echo(f"machine   {machine()}")
    click.echo(f"builds    {', '.join(_isa.supported())} can run here; LANEWISE_ISA forces one")
    click.echo(f"numpy     {np.__version__}, Python {platform.python_version()}")
    click.echo(f"data      {data.home()}")
    for name in data.SETS:
        there = name == "fashion-mnist-mini" or (data.home() / name).is_dir()
        click.echo(f"          {name}: {'here' if there else 'not here'}")


if __name__ == "__main__":
    main()
