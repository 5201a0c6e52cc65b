"""Pictures of labelled images: some of them, and how many there are of each class."""
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..rng import as_rng
from .look import (BLUE, GREY, SMALL, TEXT, axes, captioned, count, extent, labelled, labels_of, names_of, pictures, shorten,
                   title)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from .._types import Data, Seed

MOST_NAMES = 24                 # classes that have names at their bars


def samples(data: Data, n: int = 24, cols: int | None = None, names: Sequence[str] | None = None, mean: Any = None,
            std: Any = None, rng: Seed = 0, fig: Figure | None = None) -> Figure:
    """n images of a Dataset or of (x, y) arrays, x (N, C, H, W) or (N, H, W), each under the name of its class; the Figure.

    Drawn without replacement by `rng` (a seed or a Generator), in the order of the classes; `rng=None`: the first n. `cols`: a
    row's images, from the figure's shape by default. uint8 images are shown as they are, others as x * std + mean where given,
    clipped to 0..1, or stretched to it."""
    images, labels, dataset = labelled("samples", data)
    n = min(count("samples", "n", n), len(images))
    if cols is not None:
        cols = min(count("samples", "cols", cols), n)
    names = names_of("samples", names, dataset, int(labels.max()) + 1)
    index = np.arange(n)
    if rng is not None:
        index = as_rng(rng).choice(len(images), n, replace=False)
        index = index[np.argsort(labels[index], kind="stable")]
    return captioned(fig, pictures("samples", images[index], mean, std), [[("", names[k])] for k in labels[index]], cols)


def classes(data: Data, names: Sequence[str] | None = None, ax: Axes | None = None) -> Axes:
    """A bar for each class, as long as it has samples, of a Dataset, (x, y) arrays or labels (N,); the Axes.

    Up to 24 classes lie on their side with their names, more stand with their numbers. The dashed line is the mean."""
    if isinstance(data, (tuple, list)) and len(data) == 2 and np.ndim(data[1]) or hasattr(data, "labels"):
        _, labels, dataset = labelled("classes", data)
    else:
        labels, dataset = labels_of("classes", data), None
    n = max(int(labels.max()) + 1, dataset.n_classes if dataset is not None else 0, len(names) if names is not None else 0)
    names, counts = names_of("classes", names, dataset, n), np.bincount(labels, minlength=n)
    ax, style = axes(ax), dict(color=GREY, linewidth=1, linestyle="--")
    if n <= MOST_NAMES:
        bars = ax.barh(range(n), counts, color=BLUE, height=0.75)
        size = TEXT - 1 if n <= 15 else SMALL - 1
        text = shorten(names[:n], 1.6, size)
        beside = max(extent(k, size) for k in text)
        ax.set_yticks(range(n), text, fontsize=size, parse_math=False)
        ax.bar_label(bars, [f"{k:,}" for k in counts], padding=3, fontsize=size,
                     bbox=dict(facecolor="white", edgecolor="none", pad=0.5))
        ax.set(xlim=(0, 1.14 * counts.max()), ylim=(n - 0.4, -0.6))
        ax.axvline(counts.mean(), **style)
        ax.xaxis.get_major_locator().set_params(integer=True, nbins=6)
        ax.xaxis.set_major_formatter("{x:,.0f}")
        ax.set_xlabel("samples", fontsize=TEXT)
    else:
        beside = 0.4
        ax.bar(range(n), counts, color=BLUE, width=0.8)
        ax.set_xlim(-0.6, n - 0.4)                      # no tick where no class is
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.axhline(counts.mean(), **style)
        ax.yaxis.set_major_formatter("{x:,.0f}")
        ax.set_ylabel("samples", fontsize=TEXT)
        ax.set_xlabel("class", fontsize=TEXT)
    low, high = (f"{k:,}" for k in (counts.min(), counts.max()))
    each = low if low == high else f"{low} to {high}"
    title(ax, f"{len(labels):,} samples of {n} class{'es' * (n > 1)}, {each} of each", beside)
    return ax
