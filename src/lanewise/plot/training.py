"""Pictures of a run: learning curves, and where a step's time goes."""
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .look import BLUE, GREEN, GREY, ORANGE, SMALL, TEXT, axes, extent, figure, shorten, title

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from ..profiling import Profile
    from ..train import Trainer


RATE = "learning_rate"


def _by_factors(rates: Any) -> bool:
    # whether rates go over orders of magnitude, so that the middle one is nearer to the geometric mean of the extremes: steps
    # and powers do, a cosine that ends near 0 does not
    rates = np.unique(rates)
    low, middle, high = rates[0], rates[(len(rates) - 1) // 2], rates[-1]
    return bool(low > 0 and high > 30 * low and middle ** 2 < np.sqrt(low * high) * (low + high) / 2)


def history(history: Mapping[str, Sequence[float]] | Trainer, fig: Figure | None = None) -> Figure:
    """Learning curves, a panel for the loss, one for each measure beside it, one for "learning_rate" where it is
    recorded, as fit() does with a schedule or a LearningRateScheduler; the Figure.

    `history`: a dict of lists, a number an epoch, as Trainer.fit gives it, or a Trainer; "val_x" is drawn with "x", and empty
    lists and "seconds" are left out. A list that is shorter than the longest belongs to the last epochs."""
    found = getattr(history, "history", history)
    if not isinstance(found, dict):
        raise TypeError(f"history: expected a dict of lists or a Trainer, got {type(history).__name__}")
    curves = {k: np.asarray(v, float) for k, v in found.items() if k != "seconds" and np.ndim(v) == 1 and len(v)}
    if not curves:
        raise ValueError("history: expected at least one epoch, got none")
    epochs = max(map(len, curves.values()))
    names = list(dict.fromkeys(k[4:] if k.startswith("val_") else k for k in curves))
    names.sort(key=lambda k: (k != "loss", k == RATE))
    rows = -(-len(names) // 4)
    cols = -(-len(names) // rows)
    fig = figure(fig, *((6.0, 3.2) if cols < 3 else (3.0 * cols, 3.0 * rows)))
    for place, name in enumerate(names):
        ax = axes(fig.add_subplot(rows, cols, place + 1))
        for key, colour, label in ((name, BLUE, "training"), ("val_" + name, ORANGE, "validation")):
            if key in curves:
                y = curves[key]
                ax.plot(np.arange(epochs - len(y), epochs) + 1, y, color=GREEN if name == RATE else colour, linewidth=1.5,
                        marker="o" if epochs <= 30 else "", markersize=3, label=label)
        if name == RATE:
            if _by_factors(curves[name]):
                ax.set_yscale("log")
        elif "val_" + name in curves:
            ax.legend(frameon=False, fontsize=TEXT - 1)
        ax.xaxis.get_major_locator().set_params(integer=True, nbins=6)
        if epochs == 1:
            ax.set_xlim(0.5, 1.5)
            ax.set_xticks([1])
        ax.set_xlabel("epoch", fontsize=TEXT)
        title(ax, "learning rate" if name == RATE else name)
    return fig


def profile(profile: Profile, most: int = 20, ax: Axes | None = None) -> Axes:
    """A lanewise.Profile as bars, a row each, forward, dX and dW one after the other; the Axes.

    Of more than `most` rows those that take least are one bar at the end."""
    rows = getattr(profile, "rows", None)
    if rows is None:
        raise TypeError(f"profile: expected what lanewise.profile returns, got {type(profile).__name__}")
    big = set(map(id, sorted(rows, key=lambda r: -r.seconds)[:most if len(rows) <= most else most - 1]))
    kept, rest = [r for r in rows if id(r) in big], [r for r in rows if id(r) not in big]
    labels = shorten([" ".join(filter(None, (r.name, "+".join((r.kind, *r.fused))))) for r in kept], 2.0, SMALL)
    parts = [[(r.forward, r.dx, r.dw, r.seconds if r.output_shape is None else 0.0) for r in group] for group in (kept, rest)]
    parts = np.array(parts[0] + ([tuple(map(sum, zip(*parts[1])))] if rest else []))
    labels += [f"{len(rest)} others"] if rest else []
    ax = axes(ax, 6.0, max(3.0, 1.0 + 0.2 * len(labels)))
    start, unit, name = np.zeros(len(labels)), *((1e3, "ms") if profile.step > 5e-3 else (1e6, "us"))
    for column, (colour, what) in enumerate(((BLUE, "forward"), (ORANGE, "dX"), (GREEN, "dW"), (GREY, "around the layers"))):
        ax.barh(range(len(labels)), unit * parts[:, column], left=unit * start, color=colour, height=0.75, label=what)
        start = start + parts[:, column]
    for i, seconds in enumerate(parts.sum(1)):
        ax.text(unit * max(seconds, 0), i, f" {100 * seconds / profile.step:.1f} %", va="center", fontsize=SMALL)
    ax.set_yticks(range(len(labels)), labels, fontsize=SMALL, parse_math=False)
    ax.set(ylim=(len(labels) - 0.4, -0.6), xlim=(min(0.0, unit * parts.min()), 1.15 * unit * max(start)))
    ax.legend(frameon=False, fontsize=SMALL, loc="best")
    ax.set_xlabel(f"{name} of a step of {profile.samples} samples", fontsize=TEXT)
    title(ax, f"a step: {unit * profile.step:,.1f} {name} on {profile.threads} thread{'s' * (profile.threads > 1)}, "
              f"{profile.samples / profile.step:,.0f} samples/s", max(extent(k, SMALL) for k in labels))
    return ax
