"""What commands share: kinds of options, JSON on the standard output, files that must be writable before the work begins."""
import json
import math
import os
import tempfile

import click
from click.shell_completion import CompletionItem

from .. import io, threads
from ..data import Augment
from ..errors import DataError


def finite(ctx, param, value):
    """An option's number, which must not be NaN or infinite."""
    if value is not None and not math.isfinite(value):
        raise click.BadParameter(f"{value} is not a finite number.")
    return value


def emit(value):
    """One JSON object; NaN and infinities, which JSON lacks, are null."""
    click.echo(json.dumps(io._finite(value), indent=1, allow_nan=False))


def writable(option, path):
    """DataError, now and not after the work, for a file that cannot be written."""
    folder = os.path.dirname(os.path.realpath(path))
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise DataError(f"{option} {path}: cannot write to the folder {folder} ({error.strerror})") from None
    if os.path.exists(path) and not os.path.isfile(path):
        raise DataError(f"{option} {path}: expected the name of a file, got a {'folder' if os.path.isdir(path) else 'device'}")


def percent(share):
    """A share as people read it."""
    return f"{100 * share:.1f} %"


def dims(shape):
    """(C, H, W) as CxHxW."""
    return "x".join(map(str, shape))


class Sizes(click.ParamType):
    """Whole numbers of 1 or more with an x between: HxW, where one number stands for both, or CxHxW."""

    def __init__(self, name, n):
        self.name, self.n = name, n

    def convert(self, value, param, ctx):
        """A tuple of n."""
        words = str(value).lower().split("x") if not isinstance(value, (tuple, list)) else [str(v) for v in value]
        if not all(w.isascii() and w.isdigit() and int(w) for w in words) or len(words) not in {self.n, self.n - (self.n == 2)}:
            self.fail(f"{value!r} is not {self.name}, in pixels.", param, ctx)
        return tuple(map(int, words)) * (self.n // len(words))


SIZE, SHAPE = Sizes("H or HxW", 2), Sizes("CxHxW", 3)


class _Numbers:
    """A click range whose mistakes say what was expected: "a whole number of 1 or more"."""

    def convert(self, value, param, ctx):
        """The number."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter:
            self.fail(f"expected {self._expected()}, got {value!r}.", param, ctx)

    def _expected(self):
        low = f"above {self.min}" if self.min_open else f"of {self.min} or more"
        high = "" if self.max is None else f" and below {self.max}" if self.max_open else f", at most {self.max}"
        return f"{self.what} {low}{high}"


class Whole(_Numbers, click.IntRange):
    """Whole numbers of a range that begins at `min`."""
    what = "a whole number"


class Real(_Numbers, click.FloatRange):
    """Numbers of a range that begins at `min`."""
    what = "a number"


class NameOrPath(click.ParamType):
    """Text, which a shell completes by names and by files. The request for files stands first: bash's script drops what came
    before it, and looks for files where no name fits."""
    name = "name or path"

    def __init__(self, names):
        self.names = tuple(names)

    def shell_complete(self, ctx, param, incomplete):
        """Files and folders, and the names that begin so."""
        return [CompletionItem(incomplete, type="file"),
                *(CompletionItem(name) for name in self.names if name.startswith(incomplete))]


class AugmentType(click.ParamType):
    """An Augment as text, "shift=2,flip,scale=0.9:1.1", or from a file of settings as a table."""
    name = "changes"

    def convert(self, value, param, ctx):
        """An Augment."""
        if isinstance(value, Augment):
            return value
        try:
            return Augment(**(value if isinstance(value, dict) else self._settings(value, param, ctx)))
        except (TypeError, ValueError) as error:
            known = Augment.__dataclass_fields__
            strange = next((k for k in value if k not in known), None) if isinstance(value, dict) else None
            self.fail(str(error) if strange is None else f"expected names among {', '.join(known)}, got {strange!r}.",
                      param, ctx)

    def _settings(self, text, param, ctx):
        settings, known = {}, Augment.__dataclass_fields__
        for word in filter(None, (w.strip() for w in text.split(","))):
            name, equals, number = (w.strip() for w in word.partition("="))
            if name not in known:
                self.fail(f"expected names among {', '.join(known)}, got {name!r}.", param, ctx)
            if name in settings:
                self.fail(f"{name} is there twice.", param, ctx)
            if (name == "flip") is bool(equals):
                self.fail(f"expected 'flip' alone, got {word!r}." if equals else
                          f"expected a value after {name}, as in {name}={'edge' if name == 'pad' else 2}.", param, ctx)
            settings[name] = self._value(name, number, param, ctx)
        return settings

    def _value(self, name, text, param, ctx):
        if name in ("flip", "pad"):
            return text or True
        kind = int if name in ("shift", "cutout") else float
        try:
            if name == "scale":
                low, high = map(float, text.split(":"))
                return low, high
            return kind(text)
        except ValueError:
            what = "two factors as 0.9:1.1" if name == "scale" else "a whole number" if kind is int else "a number"
            self.fail(f"expected {name} to be {what}, got {text!r}.", param, ctx)


def set_threads(ctx, param, value):
    """Use so many threads."""
    if value:
        threads.set_num_threads(value)


def threads_option(command):
    """--threads N."""
    return click.option("--threads", "n_threads", type=Whole(1, threads.MOST), callback=set_threads,
                        expose_value=False, help="Threads.  [default: what the machine allows]")(command)


def json_option(command):
    """--json."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON object, and nothing else, instead.")(command)


class Picture:
    """A figure of one picture to draw into, which save() writes whole as the file's ending says. ImportError without
    matplotlib, DataError for a file that cannot be written or of a kind that it does not know: before the work."""

    def __init__(self, option, path, width=6.0, height=4.0):
        try:
            from matplotlib.backends.backend_agg import FigureCanvasAgg
            from matplotlib.figure import Figure
        except ImportError:
            raise ImportError(f"{option} needs matplotlib: pip install \"lanewise[plot]\"") from None
        self.path, self.kind = path, os.path.splitext(path)[1][1:].lower()
        kinds = FigureCanvasAgg.get_supported_filetypes()
        if self.kind not in kinds:
            raise DataError(f"{option} {path}: expected a name that ends in one of {', '.join(sorted(kinds))}")
        writable(option, path)
        self.figure = Figure(figsize=(width, height), layout="constrained")

    def save(self):
        """Write the file."""
        from io import BytesIO
        out = BytesIO()
        self.figure.savefig(out, format=self.kind, dpi=150)
        io.write_whole(self.path, out.getvalue())
