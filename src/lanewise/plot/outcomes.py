"""Pictures of what a classifier answers: confusion, its worst mistakes, what it looks at."""
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..data.dataset import Dataset
from ..errors import LabelError, ShapeError
from ..graph import tensor
from ..nn import Module
from ..train import Trainer, _evaluating
from .look import (AMOUNT, APART, SMALL, TEXT, WIDE, axes, captioned, colour_bar, count, extent, figure, fitting, labelled,
                   labels_of, names_of, pictures, shorten, show, title)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike

    from .._types import Array, Data

MOST_NUMBERS = 20               # classes that have numbers in a confusion matrix


def _answers(who: str, source: Any, data: Any) -> Any:
    # (scores (N, C) or None, labels predicted (N,))
    if isinstance(source, Module):
        source = Trainer(source, None).predict(data if isinstance(data, Dataset) else data[0])
    found = np.asarray(source)
    if found.ndim == 1 and found.dtype.kind in "iu":
        return None, labels_of(who, found)
    if found.ndim != 2 or found.shape[1] < 2 or found.dtype.kind != "f":
        raise ShapeError(f"{who}: expected a model, scores (N, classes) or labels (N,), got {found.dtype} {found.shape}")
    return found, found.argmax(1)


def _probabilities(scores: Any) -> Any:
    # softmax of scores; of what is probabilities already, themselves
    p = np.asarray(scores, np.float64)
    if p.min() >= 0 and np.allclose(p.sum(1), 1, atol=1e-4):
        return p
    p = np.exp(p - p.max(1, keepdims=True))
    return p / p.sum(1, keepdims=True)


def confusion(source: Any, data: Data, names: Sequence[str] | None = None, ax: Axes | None = None) -> Axes:
    """The confusion matrix: a row a true class, a column a predicted one, colours the share of the row; the Axes.

    `source`: a model, its scores (N, C) or predicted labels (N,); `data`: a Dataset, (x, y) arrays, or for scores and labels
    the true labels (N,) alone. Of many classes every second, fifth, ... has its name at the axes, shortened so that different
    names stay different; up to 20 classes have the counts in their fields, where these fit."""
    if isinstance(data, Dataset) or isinstance(data, (tuple, list)) and len(data) == 2 and np.ndim(data[1]):
        _, labels, dataset = labelled("confusion", data)
    elif isinstance(source, Module):
        raise TypeError(f"confusion: expected a Dataset or (x, y) arrays for a model, got {type(data).__name__}")
    else:
        labels, dataset = labels_of("confusion", data), None
    scores, found = _answers("confusion", source, data)
    if len(found) != len(labels):
        raise ShapeError(f"confusion: expected as many answers as labels ({len(labels)}), got {len(found)}")
    n = max(int(labels.max()) + 1, int(found.max()) + 1, 0 if scores is None else scores.shape[1], len(names or ()))
    names, table = names_of("confusion", names, dataset, n), np.zeros((n, n), np.int64)
    np.add.at(table, (labels, found), 1)
    share = table / np.maximum(table.sum(1, keepdims=True), 1)
    ax = axes(ax)
    from matplotlib.colors import PowerNorm
    image = ax.imshow(share, cmap="Blues", norm=PowerNorm(0.5, 0, 1), interpolation="nearest")
    ax.spines[:].set_visible(False)
    box = ax.get_window_extent()
    field = 72 * 0.93 * min(box.width, box.height) / ax.figure.dpi / n          # points, about
    size = min(TEXT - 1, max(SMALL - 1, 0.6 * field))
    every = next(k for k in (1, 2, 5, 10, 20, 50, 100, n) if k * field >= 1.6 * size or k >= n)      # names that lie aslant
    text = shorten(names[:n:every], min(1.6, max(1.1, 0.85 * field / 72)), size)
    wide = max(extent(k, size) for k in text) > 0.9 * every * field / 72
    ax.set_xticks(range(0, n, every), text, fontsize=size, rotation=45 if wide else 0, ha="right" if wide else "center",
                  rotation_mode="anchor", parse_math=False)
    ax.set_yticks(range(0, n, every), text, fontsize=size, parse_math=False)
    ax.tick_params(length=0 if every == 1 else 2)
    size = fitting([f"{table.max()}"], 0.85 * field / 72, TEXT - 1, 1)
    if n <= MOST_NUMBERS and size >= 4:
        for row, col in zip(*np.nonzero(table)):
            ax.text(col, row, f"{table[row, col]}", ha="center", va="center", fontsize=size,
                    color="white" if share[row, col] > 0.3 else "black")
    ax.set_xlabel("predicted", fontsize=TEXT)
    ax.set_ylabel("true", fontsize=TEXT)
    colour_bar(ax, image, "share of the true class")
    title(ax, f"accuracy {100 * np.trace(table) / len(labels):.1f} % of {len(labels):,}")
    return ax


def mistakes(source: Any, data: Data, n: int = 12, cols: int | None = None, names: Sequence[str] | None = None,
             mean: Any = None, std: Any = None, fig: Figure | None = None) -> Figure:
    """The n wrong answers that give the true class the least probability, worst first; the Figure.

    Above each image: the predicted class with its probability, the true one with its own. `source`: a model, or its scores
    (N, C), which softmax makes probabilities of; `data`: a Dataset or (x, y) arrays. Images are shown as in samples()."""
    images, labels, dataset = labelled("mistakes", data)
    n = count("mistakes", "n", n)
    scores, found = _answers("mistakes", source, data)
    if scores is None:
        raise TypeError("mistakes: expected a model or scores (N, classes), got labels")
    if len(scores) != len(labels):
        raise ShapeError(f"mistakes: expected as many scores as labels ({len(labels)}), got {len(scores)}")
    if labels.max() >= scores.shape[1]:
        raise LabelError(f"mistakes: expected labels from 0 to {scores.shape[1] - 1}, got {labels.max()}")
    names = names_of("mistakes", names, dataset, scores.shape[1])
    p, rows = _probabilities(scores), np.arange(len(labels))
    wrong = np.flatnonzero(found != labels)
    worst = wrong[np.argsort(p[wrong, labels[wrong]], kind="stable")][:n]
    if not len(worst):
        fig = figure(fig, 4.0, 1.0)
        fig.text(0.5, 0.5, f"no mistake in {len(labels):,}", ha="center", va="center", fontsize=TEXT)
        return fig
    captions = [[(f"{p[i, k]:.2f} ", names[k]) for k in (found[i], labels[i])] for i in worst]
    heading = (f"{len(wrong):,} mistake{'s' * (len(wrong) != 1)} in {len(rows):,}",
               "predicted above, true below, with probabilities")
    return captioned(fig, pictures("mistakes", images[worst], mean, std), captions, cols, heading)


def saliency_map(model: Module, x: ArrayLike, classes: ArrayLike | None = None) -> Array:
    """|d score[class] / d x|, the largest over channels, of images x (N, C, H, W): (N, H, W) (Simonyan, Vedaldi and Zisserman
    2014). `classes` (N,): those predicted by default. In evaluation mode; the model's gradients are left as they were."""
    return _saliency(model, x, classes)[0]


def _saliency(model: Any, x: Any, classes: Any) -> Any:
    # (maps, classes)
    x = np.asarray(x)
    x = x.astype(np.float32) / 255 if x.dtype == np.uint8 else x
    if x.ndim != 4:
        raise ShapeError(f"saliency: expected images (N, C, H, W), got shape {x.shape}")
    kept = [(p, None if p.grad is None else p.grad.copy()) for p in model.parameters()]
    leaf = tensor(x, requires_grad=True)
    try:
        with _evaluating(model):
            scores = model(leaf)
            classes = scores.argmax(1) if classes is None else labels_of("saliency", np.atleast_1d(classes))
            if len(classes) not in (1, len(x)):
                raise ShapeError(f"saliency: expected a label, or one for each of {len(x)} images, got {len(classes)}")
            if classes.max() >= scores.shape[1]:
                raise LabelError(f"saliency: expected labels from 0 to {scores.shape[1] - 1}, got {classes.max()}")
            onehot = np.zeros(scores.shape, x.dtype)
            onehot[np.arange(len(x)), classes] = 1
            (scores * onehot).sum().backward()
    finally:
        for p, grad in kept:
            p.grad = grad
    return np.abs(np.asarray(leaf.grad)).max(1), np.broadcast_to(classes, len(x))


def saliency(model: Module, image: ArrayLike, label: Any = None, titles: Any = None, names: Sequence[str] | None = None,
             fig: Figure | None = None) -> Figure:
    """Images above, below how much each pixel moves the score of a class (saliency_map), with the class over it; the Figure.

    `image`: (C, H, W), or several (N, C, H, W), as the model takes them; `label`: the class, or one for each image, those
    predicted by default; `titles`: above the images; `names`: of the classes, their numbers by default."""
    x = np.asarray(image)
    x = x[None] if x.ndim == 3 else x
    (maps, found), shown = _saliency(model, x, label), pictures("saliency", x)
    titles = [""] * len(x) if titles is None else [str(t) for t in ([titles] if isinstance(titles, str) else titles)]
    if len(titles) != len(x):
        raise ValueError(f"saliency: expected {len(x)} titles, got {len(titles)}")
    known = names_of("saliency", names, None, int(found.max()) + 1)
    side = 2.4 if len(x) == 1 else min(2.0, max(1.0, WIDE / len(x)))
    what, named = "predicted" if label is None else "class", [known[k] for k in found]
    width = (side if fig is None else fig.bbox.width / fig.dpi / len(x)) - APART
    one = max(extent(f"{what} {k}", SMALL) for k in named) <= width             # a line
    fig = figure(fig, side * len(x), 2 * side * x.shape[2] / x.shape[3] + 0.15 * (2 - one + any(titles)))
    panels = fig.subplots(2, len(x), squeeze=False)
    for axs, lead, texts in ((panels[0], "", titles), (panels[1], what + (" " if one else "\n"), named)):
        size = fitting([lead + t for t in texts], width, TEXT - 1, SMALL - 1)
        for ax, text in zip(axs, shorten(texts, width - one * extent(lead, size), size)):
            ax.set_title(lead + text, fontsize=size, pad=2, parse_math=False)
    for (top, bottom), picture, heat in zip(panels.T, shown, maps):
        show(top, picture)
        bottom.imshow(heat, cmap=AMOUNT, interpolation="nearest")
        bottom.set_axis_off()
    return fig
