"""What all pictures share: colours, sizes, new figures, images made showable, texts made to fit."""
from __future__ import annotations

import math
from importlib import import_module
from os.path import commonprefix
from typing import TYPE_CHECKING

import numpy as np

from ..data.dataset import Dataset
from ..errors import LabelError, ShapeError, in_line

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from .._types import Array

BLUE, ORANGE, GREEN, RED, PURPLE, SKY, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#8A8A8A"
TEXT, SMALL = 9, 7              # points
AMOUNT, SIGNED = "viridis", "RdBu_r"        # colour maps of what is 0 or more, and of what has a sign
WIDE, TALL = 6.0, 4.0           # inches of a new figure
LEAST, MOST = 0.6, 2.4          # inches of an image in a new figure of captioned ones; a quarter more for two lines
APART = 0.09                    # inches between captions
HINTED = 1.08                   # letters on a screen over those on paper: 0.92 to 1.09 at 5 to 9 points, 100 dots an inch


def _module(name: str) -> Any:
    # matplotlib's, or one sentence
    try:
        return import_module("matplotlib." + name)
    except ImportError:
        raise ImportError("lanewise.plot needs matplotlib: pip install \"lanewise[plot]\"") from None


def figure(fig: Figure | None, width: float = WIDE, height: float = TALL) -> Figure:
    """The figure to draw into: `fig` (a Figure or SubFigure), or a new one."""
    return _module("pyplot").figure(figsize=(width, height), layout="constrained") if fig is None else fig


def axes(ax: Axes | None, width: float = WIDE, height: float = TALL) -> Axes:
    """The axes to draw into: `ax`, or those of a new figure; with two spines, small ticks."""
    ax = figure(None, width, height).subplots() if ax is None else ax
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(labelsize=TEXT - 1)
    return ax


def title(ax: Axes, text: str, beside: float = 0.0) -> None:
    """A title at the left, in two lines where it is wider than the place of the axes without so many inches of names at
    their side."""
    wide = 1.25 * ax.get_window_extent().width / ax.figure.dpi - beside - 0.2      # between axes there is room as well
    if extent(text, TEXT) > wide:
        text = ",\n".join(text.rsplit(", ", 1))
    ax.set_title(text, loc="left", fontsize=fitting([text], wide, TEXT, SMALL - 1), parse_math=False)


def count(who: str, name: str, value: Any, least: int = 1) -> int:
    """An integer of `least` or more, or one sentence."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise ValueError(f"{who}: expected {name} of {least} or more, got {value!r}")
    return int(value)


def extent(text: str, size: float, bold: bool = False) -> float:
    """Inches that a text's longest line takes at so many points, on a screen too, where hinted letters are up to 8 % wider."""
    text_to_path = _module("textpath").text_to_path
    font = _module("font_manager").FontProperties(size=size, weight="bold" if bold else "normal")
    return HINTED * max(float(text_to_path.get_text_width_height_descent(t, font, False)[0]) for t in text.split("\n")) / 72


def fitting(texts: Sequence[str], width: float, most: float, least: float, bold: bool = False) -> float:
    """Points, from `least` to `most`, at which the longest of the texts takes so many inches."""
    longest = max((extent(t, 1, bold) for t in texts), default=0.0)
    return min(most, max(least, width / max(longest, 1e-9)))


def shorten(texts: Sequence[str], width: float, size: float, bold: bool = False) -> list[str]:
    """The texts, none longer than so many inches at so many points: an ellipsis stands for what is cut.

    Of those that are cut no other text has the same letters around the ellipsis: it is at the end, in the middle, or on both
    sides of where a text begins to differ; the first of these that does for all, or else for the one text. A text that none
    of them tells from the others is cut in the middle."""
    known = sorted(set(texts))
    long = [t for t in known if len(t) > 1 and extent(t, size, bold) > 1.001 * width]      # fitting() is exact, rounding is not
    alike = [0, *(len(commonprefix(pair)) for pair in zip(known, known[1:])), 0]
    starts = {t: max(alike[i:i + 2]) for i, t in enumerate(known)}      # letters that another text begins with as well

    def joined(parts: tuple[str, str, str]) -> str:
        return "…".join((parts[0], *filter(None, parts[1:2]), parts[2]))

    def cut(text: str, way: int) -> tuple[str, str, str]:
        for letters in range(max(1, min(len(text) - 1, int(len(text) * width / extent(text, size, bold)) + 1)), 0, -1):
            start, half = min(starts[text], len(text) - letters), letters // 2
            while start and text[start - 1].isalnum() and starts[text] - start < half:
                start -= 1                              # to the beginning of the word
            stop = start + letters
            parts = (("", text[start:stop].strip(), "") if start and stop < len(text) and way == 2 else
                     ("", "", text[-letters:].lstrip()) if start and way == 2 else
                     (text[:letters - half].rstrip(), "", text[len(text) - half:].lstrip()) if way == 1 else
                     (text[:letters].rstrip(), "", ""))
            if extent(joined(parts), size, bold) <= width:
                break
        return parts

    def told(text: str, parts: tuple[str, str, str]) -> bool:
        return not any(t.startswith(parts[0]) and parts[1] in t and t.endswith(parts[2]) for t in known if t != text)

    ways: list[dict[str, tuple[str, str, str]]] = []
    alone: list[set[str]] = []
    while len(ways) < 3 and not (alone and len(alone[-1]) == len(long)):
        ways.append({t: cut(t, len(ways)) for t in long})
        alone.append({t for t, parts in ways[-1].items() if told(t, parts)})
    if len(alone[-1]) < len(long):                      # no way does for all
        ways.append({t: next((way for way, good in zip(ways, alone) if t in good), ways[1])[t] for t in long})
    short = {t: joined(parts) for t, parts in ways[-1].items()}
    return [short.get(t, t) for t in texts]


def labelled(who: str, data: Any) -> Any:
    """(images, labels, Dataset or None) of a Dataset or of (x, y) arrays."""
    if isinstance(data, Dataset):
        return data.images, data.labels, data
    if not isinstance(data, (tuple, list)) or len(data) != 2:
        raise TypeError(f"{who}: expected a Dataset or (x, y) arrays, got {type(data).__name__}")
    x, y = np.asarray(data[0]), labels_of(who, data[1])
    if len(x) != len(y):
        raise ShapeError(f"{who}: expected as many labels as images ({len(x)}), got {len(y)}")
    return x, y, None


def labels_of(who: str, y: Any) -> Array:
    """Labels (N,) of 0 or more, as integers."""
    y = np.asarray(y)
    if y.ndim != 1 or y.dtype.kind not in "iu" or y.size == 0 or y.min() < 0:
        raise LabelError(f"{who}: expected labels (N,), integers of 0 or more, got {y.dtype} {y.shape}")
    return y.astype(np.int64)


def names_of(who: str, names: Any, dataset: Any, n: int) -> Any:
    """n names of classes, each in one line: those given, those of the Dataset, or the numbers."""
    names = list(names) if names is not None else list(dataset.classes) if dataset is not None and dataset.classes else []
    if names and len(names) < n:
        raise ValueError(f"{who}: expected {n} names of classes, got {len(names)}")
    return [in_line(k) for k in names] or [str(k) for k in range(n)]


def pictures(who: str, images: Any, mean: Any = None, std: Any = None) -> Any:
    """Images (N, C, H, W) or (N, H, W) as numbers of 0 to 1 that imshow takes, (N, H, W) or (N, H, W, 3).

    uint8 is divided by 255. Others become x * std + mean, per channel, where one of them is given, clipped to 0..1; without,
    they are shown as they are, or where some lie outside 0..1 stretched, all alike, from their least to their greatest."""
    x = np.asarray(images)
    x = x[:, None] if x.ndim == 3 else x
    if x.ndim != 4 or x.shape[1] not in (1, 3):
        raise ShapeError(f"{who}: expected images (N, C, H, W) of 1 or 3 channels, got shape {np.shape(images)}")
    if x.dtype == np.uint8:
        x = x / 255
    elif mean is not None or std is not None:
        shape = (1, -1, 1, 1)
        x = np.clip(x * np.reshape(1 if std is None else std, shape) + np.reshape(0 if mean is None else mean, shape), 0, 1)
    else:
        low, high = float(x.min()), float(x.max())
        if low < 0 or high > 1:
            x = (x - low) / ((high - low) or 1)
    return x[:, 0] if x.shape[1] == 1 else np.moveaxis(x, 1, 3)


def show(ax: Axes, picture: Array) -> Any:
    """One picture of pictures(), without ticks."""
    ax.imshow(picture, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    ax.set_axis_off()


def grid(n: int, width: float, height: float, cols: int | None = None, above: float = 0.0) -> Any:
    """(rows, columns) for n squares in a rectangle, with so much above each: the largest, few places empty; or with so many
    columns."""
    if cols is None:
        cols = max(range(1, n + 1), key=lambda c: (min(width / c, height / -(-n // c) - above)
                                                   * math.sqrt(n / (-(-n // c) * c))))
    return -(-n // cols), cols


def captioned(fig: Any, shown: Any, captions: Any, cols: int | None = None, heading: Sequence[str] = ()) -> Figure:
    """Pictures in a grid with captions above, and a heading in one line or two: the Figure, a new one as large as they need.

    A caption is a list of lines, a line (lead, name): names are shortened to their column's width, so that different ones stay
    different, leads are not."""
    lines, tall = len(captions[0]), shown.shape[1] / shown.shape[2]
    least = LEAST if lines == 1 else 1.25 * LEAST
    above, top = (0.135 * lines + 0.03) / tall, 0.18 * len(heading)
    width, height = (WIDE, TALL) if fig is None else (fig.bbox.width / fig.dpi, fig.bbox.height / fig.dpi)
    rows, columns = grid(len(shown), width, (height - top) / tall, cols, above)
    little = SMALL - 1                                  # letters are not smaller where columns may be fewer
    longest = max(extent(name, little) for text in captions for _, name in text)
    needed = max(extent(lead, little) for text in captions for lead, _ in text) + min(longest, extent("…000…", little))
    if cols is None and needed + APART > width / columns:
        rows, columns = grid(len(shown), width, (height - top) / tall, max(1, int(width / (needed + APART))), above)
    if fig is None:
        side = min(MOST, width / columns, MOST if cols else (height - top) / tall / rows - above)
        if side < least and cols is None:
            columns = min(len(shown), round(WIDE / least))
            rows, side = -(-len(shown) // columns), least
        width = max(columns * side, 3.2 if heading else 0.0)
        fig = figure(None, width, rows * (side + above) * tall + top)
    wide = max(width / columns - APART, 0.5 * width / columns)
    size = fitting([lead + name for text in captions for lead, name in text], wide, TEXT - 1, little)
    size = min(size, little * wide / needed)
    room = wide - max(extent(lead, size) for text in captions for lead, _ in text)
    names = iter(shorten([name for text in captions for _, name in text], room, size))
    panels = list(fig.subplots(rows, columns, squeeze=False).flat)
    for ax, picture, text in zip(panels, shown, captions):
        show(ax, picture)
        ax.set_title("\n".join(lead + next(names) for lead, _ in text), fontsize=size, pad=2, parse_math=False)
    for ax in panels[len(shown):]:
        ax.set_axis_off()
    if heading:
        one = ": ".join(heading)
        text = one if extent(one, TEXT) < 0.98 * width else ":\n".join(heading)
        fig.suptitle(text, x=0.01, ha="left", fontsize=fitting([text], 0.98 * width, TEXT, SMALL - 1))
    return fig


def mosaic(tiles: Array, cols: int | None = None) -> Array:
    """Tiles (N, H, W) or (N, H, W, 3) side by side in one image, a pixel apart, NaN (or white) between."""
    n, h, w = tiles.shape[:3]
    rows, cols = grid(n, (WIDE - 0.7) * h, (TALL - 0.3) * w, cols)
    out = np.full((rows * (h + 1) - 1, cols * (w + 1) - 1, *tiles.shape[3:]), 1.0 if tiles.ndim == 4 else np.nan)
    for i, tile in enumerate(tiles):
        top, left = i // cols * (h + 1), i % cols * (w + 1)
        out[top:top + h, left:left + w] = tile
    return out


def colour_bar(ax: Axes, image: Any, label: str = "") -> Any:
    """A narrow bar beside the image in the axes, as tall as the image."""
    box = ax.get_window_extent()
    rows, cols = image.get_array().shape[:2]
    wide = min(box.width, box.height * cols / rows if ax.get_aspect() == 1 else box.width) / ax.figure.dpi     # inches
    inside = ax.inset_axes((1 + 0.08 / wide, 0, 0.1 / wide, 1))
    bar = ax.figure.colorbar(image, cax=inside)
    bar.outline.set_visible(False)
    inside.tick_params(labelsize=SMALL)
    bar.set_label(label, fontsize=TEXT - 1)
