"""What all pictures share: colours, sizes, new figures, images made showable, texts made to fit."""
from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ..data.dataset import Dataset
from ..errors import LabelError, ShapeError

if TYPE_CHECKING:
    from typing import Any

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from .._types import Array

BLUE, ORANGE, GREEN, RED, PURPLE, SKY, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#8A8A8A"
TEXT, SMALL = 9, 7              # points
AMOUNT, SIGNED = "viridis", "RdBu_r"        # colour maps of what is 0 or more, and of what has a sign
LETTER = 0.58                   # width of a letter over its size


def _pyplot() -> Any:
    try:
        import matplotlib.pyplot as pyplot
    except ImportError:
        raise ImportError("lanewise.plot needs matplotlib: pip install \"lanewise[plot]\"") from None
    return pyplot


def figure(fig: Figure | None, width: float = 6.0, height: float = 4.0) -> Figure:
    """The figure to draw into: `fig` (a Figure or SubFigure), or a new one."""
    return _pyplot().figure(figsize=(width, height), layout="constrained") if fig is None else fig


def axes(ax: Axes | None, width: float = 6.0, height: float = 4.0) -> Axes:
    """The axes to draw into: `ax`, or those of a new figure; with two spines, small ticks."""
    ax = figure(None, width, height).subplots() if ax is None else ax
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(labelsize=TEXT - 1)
    return ax


def title(ax: Axes, text: str) -> None:
    """A title at the left."""
    ax.set_title(text, loc="left", fontsize=TEXT)


def count(who: str, name: str, value: Any, least: int = 1) -> int:
    """An integer of `least` or more, or one sentence."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise ValueError(f"{who}: expected {name} of {least} or more, got {value!r}")
    return int(value)


def shorten(text: str, width: float, size: float) -> str:
    """The text, cut with an ellipsis to so many inches at so many points."""
    fits = max(2, int(width * 72 / (LETTER * size)))
    return text if len(text) <= fits else text[:fits - 1] + "…"


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
    """n names of classes: those given, those of the Dataset, or the numbers."""
    names = list(names) if names is not None else list(dataset.classes) if dataset is not None and dataset.classes else []
    if names and len(names) < n:
        raise ValueError(f"{who}: expected {n} names of classes, got {len(names)}")
    return [str(k) for k in names] or [str(k) for k in range(n)]


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


def grid(n: int, width: float = 6.0, height: float = 4.0, cols: int | None = None) -> Any:
    """(rows, columns) for n squares in a rectangle: the largest, few places empty; or with so many columns."""
    if cols is None:
        cols = max(range(1, n + 1), key=lambda c: min(width / c, height / -(-n // c)) * math.sqrt(n / (-(-n // c) * c)))
    return -(-n // cols), cols


def captioned(fig: Any, shown: Any, captions: Any, cols: int | None = None, lines: int = 1) -> Figure:
    """Pictures in a grid with captions above, each line cut to its column's width: the Figure."""
    fig = figure(fig)
    width, height = fig.bbox.width / fig.dpi, fig.bbox.height / fig.dpi
    rows, cols = grid(len(shown), width, height - 0.3 * lines, cols)
    longest = max((len(line) for text in captions for line in text.split("\n")), default=1)
    size = min(TEXT - 1, max(SMALL - 1, 0.92 * width / cols * 72 / (LETTER * max(longest, 1))))
    panels = list(fig.subplots(rows, cols, squeeze=False).flat)
    for ax, picture, text in zip(panels, shown, captions):
        show(ax, picture)
        ax.set_title("\n".join(shorten(line, width / cols, size) for line in text.split("\n")), fontsize=size, pad=2)
    for ax in panels[len(shown):]:
        ax.set_axis_off()
    return fig


def mosaic(tiles: Array, cols: int | None = None) -> Any:
    """Tiles (N, H, W) or (N, H, W, 3) side by side in one image, a pixel apart, NaN (or white) between; and (rows, columns)."""
    n, h, w = tiles.shape[:3]
    rows, cols = grid(n, 5.0 * h, 3.7 * w, cols)
    out = np.full((rows * (h + 1) - 1, cols * (w + 1) - 1, *tiles.shape[3:]), 1.0 if tiles.ndim == 4 else np.nan)
    for i, tile in enumerate(tiles):
        top, left = i // cols * (h + 1), i % cols * (w + 1)
        out[top:top + h, left:left + w] = tile
    return out, (rows, cols)


def colour_bar(ax: Axes, image: Any, label: str = "") -> Any:
    """A narrow bar beside the axes."""
    bar = ax.figure.colorbar(image, ax=ax, shrink=0.85, pad=0.02, aspect=30)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=SMALL)
    bar.set_label(label, fontsize=TEXT - 1)
