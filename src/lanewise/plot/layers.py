"""Pictures of what is inside a network: the weights of a layer, and what it makes of an image."""
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..graph import Value
from ..nn import module as modules
from ..train import _evaluating
from .look import AMOUNT, BLUE, SIGNED, TALL, TEXT, WIDE, axes, colour_bar, count, extent, mosaic, title

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from matplotlib.axes import Axes
    from numpy.typing import ArrayLike

    from .._types import Array, Operand
    from ..nn.module import Module


def _layer(who: str, model: Module, name: str | None, wanted: Callable[[Module], bool], what: str) -> tuple[str, Module]:
    # (path, module) of the name, or of the first that is wanted
    found = dict(model.named_modules())
    if name is None:
        name = next((k for k, m in found.items() if wanted(m)), None)
        if name is None:
            raise ValueError(f"{who}: expected a model with {what}, got {type(model).__name__}")
    if name not in found:
        some = ", ".join(repr(k) for k in list(found)[1:6])
        raise ValueError(f"{who}: expected the name of a layer ({some}, ...), got {name!r}")
    return name, found[name]


def _weights(module: Any) -> Any:
    weight = getattr(module, "weight", None)
    return None if weight is None or len(weight.shape) not in (2, 4) else weight


def _tiles(ax: Any, tiles: Any, cols: int | None, signed: Any, names: str) -> Any:
    # a mosaic on one scale, with a bar; new axes are as large as it needs
    picture = mosaic(tiles, cols)
    bar = 0.0 if tiles.ndim == 4 else 0.7
    if ax is None:
        tall, wide = picture.shape[:2]
        inch = min((WIDE - bar) / wide, (TALL - 0.3) / tall)
        ax = axes(None, max(inch * wide + bar, extent(names, TEXT) + 0.5), max(inch * tall + 0.3, 0.8))
    else:
        axes(ax)
    if tiles.ndim == 4:
        ax.imshow(picture, interpolation="nearest")
    else:
        most = float(np.nanmax(np.abs(tiles))) or 1.0
        low = -most if signed else min(0.0, float(tiles.min()))
        colour_bar(ax, ax.imshow(picture, cmap=SIGNED if signed else AMOUNT, vmin=low, vmax=most if signed else
                                 max(float(tiles.max()), low + 1e-12), interpolation="nearest"))
    ax.set_axis_off()
    ax.set_anchor("W")                                  # below the title's beginning
    title(ax, names)
    return ax


def filters(model: Module, layer: str | None = None, shape: Sequence[int] | None = None, cols: int | None = None,
            ax: Axes | None = None) -> Axes:
    """The weights of a layer as pictures, one a filter; the Axes.

    `layer`: its name as in named_modules(), the first with weights by default. A convolution's filters (O, I, K, K) of one
    channel are red above 0 and blue below, of three channels in colour about grey; of others every channel is a picture, a
    row a filter, or a column where there are more filters than channels, at most 256; the channels of one filter alone take
    several rows. A Linear's rows are pictures of `shape`, the (C, H, W) that was flattened before it: templates of the classes,
    where it is the only layer."""
    name, module = _layer("filters", model, layer, lambda m: _weights(m) is not None, "weights")
    weight = _weights(module)
    if weight is None:
        raise ValueError(f"filters: expected a layer with weights (O, I, K, K) or (O, I), got {type(module).__name__} '{name}'")
    w = np.asarray(weight.data, np.float64)
    if w.ndim == 2:
        if shape is None or len(shape) != 3 or np.prod(shape) != w.shape[1]:
            raise ValueError(f"filters: expected shape=(C, H, W) of {w.shape[1]} numbers for {type(module).__name__} '{name}', "
                             f"got {shape!r}")
        w = w.reshape(len(w), *shape)
    outs, ins = w.shape[:2]
    text = (f"{type(module).__name__} '{name}': {outs} filter{'s' * (outs > 1)}, {ins} channel{'s' * (ins > 1)} of "
            f"{w.shape[2]}x{w.shape[3]}")
    if ins == 3:
        tiles = np.moveaxis(0.5 + 0.5 * w / (np.abs(w).max() or 1), 1, 3)
    elif ins == 1:
        tiles = w[:, 0]
    else:
        w = w[:max(1, 256 // ins)]
        text += "" if len(w) == outs else f" (the first {len(w)})"
        if len(w) > ins:
            tiles, cols = np.moveaxis(w, 0, 1).reshape(-1, *w.shape[2:]), len(w)
        else:
            tiles, cols = w.reshape(-1, *w.shape[2:]), ins if len(w) > 1 else cols
    return _tiles(ax, tiles, cols, True, text)


def activations(model: Module, x: Operand, layer: str) -> Array:
    """What the layer of that name gives for a batch x, in evaluation mode: (N, ...) array; of a layer that is called several
    times the first call."""
    module, found = dict(model.named_modules())[layer], []

    def watch(called: Module, inputs: Any, out: Any) -> None:
        if called is module:
            found.append(out)
    from ..graph import as_value
    with _evaluating(model):
        modules._watchers.append(watch)
        try:
            model(as_value(x))
        finally:
            modules._watchers.remove(watch)
        if not found or not isinstance(found[0], Value):
            raise ValueError(f"feature_maps: expected a layer that the model calls and that has one result, got "
                             f"{type(module).__name__} '{layer}'")
        return found[0].numpy()


def feature_maps(model: Module, image: ArrayLike, layer: str | None = None, n: int = 64, cols: int | None = None,
                 ax: Axes | None = None) -> Axes:
    """What a layer makes of one image, a picture a channel (the first n), all on one scale; the Axes.

    `image`: (C, H, W), or a batch of one; as the model takes it, np.asarray(dataset.batch([i])[0]) of a Dataset. `layer`: any
    name of named_modules(), the first convolution by default. Results that are no image, (F,) and (T, F), are bars and a
    matrix. In evaluation mode."""
    name, module = _layer("feature_maps", model, layer, lambda m: type(m).__name__ == "Conv2d", "a Conv2d")
    x, n = np.asarray(image), count("feature_maps", "n", n)
    if x.ndim == 3:
        x = x[None]
    if len(x) != 1:
        raise ValueError(f"feature_maps: expected one image, (C, H, W) or (1, C, H, W), got shape {np.shape(image)}")
    y = activations(model, x, name)[0]
    shape = "x".join(map(str, y.shape))
    text = f"{type(module).__name__ if name else 'the output of'} {name and repr(name) or type(module).__name__}: {shape}"
    if y.ndim == 3:
        signed = bool(y.min() < 0)
        text += "" if n >= len(y) else f", the first {n} channels" if n > 1 else ", the first channel"
        return _tiles(ax, y[:n], cols, signed, text)
    ax = axes(ax)
    if y.ndim == 1:
        ax.bar(range(len(y)), y, color=BLUE, width=0.8)
        ax.set_xlabel("feature", fontsize=TEXT)
    else:
        y = y.reshape(-1, y.shape[-1])
        colour_bar(ax, ax.imshow(y, cmap=AMOUNT, aspect="auto", interpolation="nearest"))
        ax.set_xlabel("feature", fontsize=TEXT)
        ax.set_ylabel("time", fontsize=TEXT)
    title(ax, text)
    return ax
