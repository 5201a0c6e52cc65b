"""softmax and log_softmax over any axis, cross-entropy, and their gradients."""
from __future__ import annotations

from typing import TYPE_CHECKING, overload

import numpy as np

from .._kernels import calls

if TYPE_CHECKING:
    from typing import Any, Literal

    from numpy.typing import ArrayLike

    from .._types import Array


def softmax(x: ArrayLike, dim: int = -1, *, out: Array | None = None) -> Array:
    """exp(x) / sum exp(x) along dim, with the maximum subtracted first; any shape. A row with NaN or +inf, or of -inf
    alone, is NaN."""
    return calls.softmax("softmax", False, x, None, dim, out)


def softmax_backward(dy: ArrayLike, y: ArrayLike, dim: int = -1, *, out: Array | None = None) -> Array:
    """dx = y (dy - sum(dy y)) along dim, from the output y."""
    return calls.softmax("softmax_backward", False, y, dy, dim, out)


def log_softmax(x: ArrayLike, dim: int = -1, *, out: Array | None = None) -> Array:
    """x - log sum exp(x) along dim, with the maximum subtracted first."""
    return calls.softmax("log_softmax", True, x, None, dim, out)


def log_softmax_backward(dy: ArrayLike, y: ArrayLike, dim: int = -1, *, out: Array | None = None) -> Array:
    """dx = dy - exp(y) sum(dy) along dim, from the output y."""
    return calls.softmax("log_softmax_backward", True, y, dy, dim, out)


def _probabilities(name: str, x: Any, target: Array, weight: Any, reduction: str,
                   smoothing: float) -> tuple[Array, Array, int]:
    """(x (N, C, ...), t of its shape: what log softmax(x) is multiplied by, the number of samples)."""
    x, weight = calls.loss_arrays(name, x, weight, reduction, smoothing)
    if x.ndim == 1:
        x, target = x[None], target[None]
    calls.shape(name, "target", target, x.shape)
    classes = x.shape[1]
    if reduction == "mean" and x.size == 0:
        raise calls.ShapeError(f"{name}: expected at least one sample to take the mean of, got x of shape {x.shape}")
    t = target.astype(x.dtype, copy=False) * (1 - smoothing) + smoothing / classes
    return x, t if weight is None else t * weight.reshape(1, classes, *(1,) * (x.ndim - 2)), x.size // classes


@overload
def cross_entropy(x: ArrayLike, target: ArrayLike, weight: ArrayLike | None = None, ignore_index: int = -100,
                  reduction: Literal["mean", "sum"] = "mean", label_smoothing: float = 0.0) -> np.floating[Any]: ...
@overload
def cross_entropy(x: ArrayLike, target: ArrayLike, weight: ArrayLike | None = None, ignore_index: int = -100,
                  reduction: str = "mean", label_smoothing: float = 0.0) -> Any: ...
def cross_entropy(x: ArrayLike, target: ArrayLike, weight: ArrayLike | None = None, ignore_index: int = -100,
                  reduction: str = "mean", label_smoothing: float = 0.0) -> Any:
    """-log softmax(x)[target] over dim 1.

    x (N, C, ...) or (C,); target integer labels (N, ...), of which ignore_index counts for nothing, or probabilities
    (N, C, ...); weight (C,) of each class. "mean" divides by the weights of the labels that count (by N... for
    probabilities), "sum" adds, "none" gives (N, ...). label_smoothing s mixes the target with s / C. As in PyTorch."""
    target = np.asarray(target)
    if target.dtype.kind != "f":
        return calls.cross_entropy(x, target, weight, ignore_index, reduction, label_smoothing)
    rows, t, count = _probabilities("cross_entropy", x, target, weight, reduction, label_smoothing)
    loss = -(t * log_softmax(rows, 1)).sum(1)
    if reduction == "none":
        return loss if rows.ndim == np.ndim(x) else loss[0]
    total = loss.sum(dtype=np.float64)
    return rows.dtype.type(total / count if reduction == "mean" else total)


def cross_entropy_backward(dy: ArrayLike, x: ArrayLike, target: ArrayLike, weight: ArrayLike | None = None,
                           ignore_index: int = -100, reduction: str = "mean", label_smoothing: float = 0.0) -> Array:
    """The gradient with respect to x; dy is a number, or (N, ...) for reduction "none"."""
    name, target = "cross_entropy_backward", np.asarray(target)
    if target.dtype.kind != "f":
        return calls.cross_entropy_backward(dy, x, target, weight, ignore_index, reduction, label_smoothing)
    rows, t, count = _probabilities(name, x, target, weight, reduction, label_smoothing)
    dy = np.asarray(dy, rows.dtype)
    if reduction == "none":
        dy = dy if rows.ndim == np.ndim(x) else dy[None]
        calls.shape(name, "dy", dy, (rows.shape[0], *rows.shape[2:]))
        dy = dy[:, None]
    else:
        calls.shape(name, "dy", dy, ())
        dy = dy / rows.dtype.type(count) if reduction == "mean" else dy
    dx = softmax(rows, 1) * t.sum(1, keepdims=True)
    dx -= t
    dx *= dy
    return dx.reshape(np.shape(x))
