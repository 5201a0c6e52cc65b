"""softmax and log_softmax over any axis, cross-entropy, and their gradients."""
import math

import numpy as np

from ..errors import LabelError, ShapeError
from ._check import Result, arrays, axis, crew, kernels, packed, shape


def _run(name, log, a, dy, dim, out):
    dim = axis(name, a, dim)
    if a.ndim and a.shape[dim] == 0:
        raise ShapeError(f"{name}: expected at least one number along dim {dim}, got shape {a.shape}")
    shape(name, "dy", dy, a.shape)
    a, dy = packed(a, dy)
    y = Result(name, out, a.shape, a.dtype, (a, dy), in_place=True)
    sizes = a.shape or (1,)
    outer, inner = math.prod(sizes[:dim]), math.prod(sizes[dim + 1:])
    if a.size:
        kernels(a).softmax(a, dy, y.array, outer, sizes[dim], inner, log, crew(a.size))
    return y.done()


def softmax(x, dim=-1, *, out=None):
    """exp(x) / sum exp(x) along dim, with the maximum subtracted first; any shape. A row with NaN or +inf, or of -inf
    alone, is NaN."""
    return _run("softmax", False, arrays("softmax", x=x), None, dim, out)


def softmax_backward(dy, y, dim=-1, *, out=None):
    """dx = y (dy - sum(dy y)) along dim, from the output y."""
    dy, y = arrays("softmax_backward", dy=dy, y=y)
    return _run("softmax_backward", False, y, dy, dim, out)


def log_softmax(x, dim=-1, *, out=None):
    """x - log sum exp(x) along dim, with the maximum subtracted first."""
    return _run("log_softmax", True, arrays("log_softmax", x=x), None, dim, out)


def log_softmax_backward(dy, y, dim=-1, *, out=None):
    """dx = dy - exp(y) sum(dy) along dim, from the output y."""
    dy, y = arrays("log_softmax_backward", dy=dy, y=y)
    return _run("log_softmax_backward", True, y, dy, dim, out)


class _Target:
    """A loss's target as -sum over classes of t log p: `t` probabilities (N, C, ...), or labels `at` (N, 1, ...) with the
    weight `w` (N, 1, ...) of each; smoothing s gives every class s / C of its own weight."""

    def __init__(self, name, x, target, weight, ignore_index, reduction, smoothing):
        if reduction not in ("mean", "sum", "none"):
            raise ShapeError(f"{name}: expected reduction 'mean', 'sum' or 'none', got {reduction!r}")
        if not 0 <= smoothing <= 1:
            raise ShapeError(f"{name}: expected label_smoothing between 0 and 1, got {smoothing!r}")
        if x.ndim == 0 or x.shape[-1 if x.ndim == 1 else 1] == 0:
            raise ShapeError(f"{name}: expected x of shape (C,) or (N, C, ...) with at least one class, got {x.shape}")
        shape(name, "weight", weight, (x.shape[-1 if x.ndim == 1 else 1],))
        self.x = x[None] if x.ndim == 1 else x
        self.alone, classes = x.ndim == 1, self.x.shape[1]
        target = np.asarray(target)[None] if self.alone else np.asarray(target)
        across = (1, classes) + (1,) * (self.x.ndim - 2)
        self.weight = np.ones(across, x.dtype) if weight is None else weight.reshape(across)
        self.smooth, self.at = smoothing / classes, None
        if target.dtype.kind == "f":
            shape(name, "target", target, self.x.shape)
            self.t = (target.astype(x.dtype, copy=False) * (1 - smoothing) + self.smooth) * self.weight
            count = self.x.size // classes
        else:
            shape(name, "target", target, (self.x.shape[0], *self.x.shape[2:]))
            if target.dtype.kind not in "iu":
                raise LabelError(f"{name}: expected target of integer labels or of probabilities, got {target.dtype}")
            counted = target != ignore_index
            wrong = target[counted & ((target < 0) | (target >= classes))]
            if wrong.size:
                raise LabelError(f"{name}: expected labels from 0 to {classes - 1}, got {wrong[0]}")
            self.at = np.where(counted, target, 0)[:, None].astype(np.intp)
            self.counted = counted[:, None].astype(x.dtype)
            self.w = self.weight.ravel()[self.at] * self.counted
            count = float(self.w.sum(dtype=np.float64))
        if reduction == "mean" and self.x.size == 0:
            raise ShapeError(f"{name}: expected at least one sample to take the mean of, got x of shape {x.shape}")
        self.reduction, self.count = reduction, count

    def loss(self, log_p):
        """The loss of each (N, ...)."""
        if self.at is None:
            return -(self.t * log_p).sum(1)
        hit = self.w * np.take_along_axis(log_p, self.at, 1)
        if self.smooth == 0:
            return -hit[:, 0]
        spread = (log_p * self.weight).sum(1, keepdims=True) * self.counted
        return -((1 - self.smooth * log_p.shape[1]) * hit + self.smooth * spread)[:, 0]

    def slope(self, p):
        """d loss / dx of each (N, C, ...), from p = softmax(x), which is overwritten: p sum(t) - t."""
        if self.at is None:
            p *= self.t.sum(1, keepdims=True)
            p -= self.t
            return p
        keep = 1 - self.smooth * p.shape[1]
        total = keep * self.w + self.smooth * self.weight.sum() * self.counted
        p *= total
        if self.smooth:
            p -= self.smooth * self.weight * self.counted
        np.put_along_axis(p, self.at, np.take_along_axis(p, self.at, 1) - keep * self.w, 1)
        return p


def cross_entropy(x, target, weight=None, ignore_index=-100, reduction="mean", label_smoothing=0.0):
    """-log softmax(x)[target] over dim 1.

    x (N, C, ...) or (C,); target integer labels (N, ...), of which ignore_index counts for nothing, or probabilities
    (N, C, ...); weight (C,) of each class. "mean" divides by the weights of the labels that count (by N... for
    probabilities), "sum" adds, "none" gives (N, ...). label_smoothing s mixes the target with s / C. As in PyTorch."""
    x, weight = arrays("cross_entropy", x=x, weight=weight)
    t = _Target("cross_entropy", x, target, weight, ignore_index, reduction, label_smoothing)
    loss = t.loss(log_softmax(t.x, 1)) if t.x.size else np.zeros((t.x.shape[0], *t.x.shape[2:]), x.dtype)
    if reduction == "none":
        return loss[0] if t.alone else loss
    total = loss.sum(dtype=np.float64)
    with np.errstate(invalid="ignore"):
        return x.dtype.type(np.divide(total, t.count) if reduction == "mean" else total)


def cross_entropy_backward(dy, x, target, weight=None, ignore_index=-100, reduction="mean", label_smoothing=0.0):
    """The gradient with respect to x; dy is a number, or (N, ...) for reduction "none"."""
    x, weight = arrays("cross_entropy_backward", x=x, weight=weight)
    t = _Target("cross_entropy_backward", x, target, weight, ignore_index, reduction, label_smoothing)
    dy = np.asarray(dy, x.dtype)
    if reduction == "none":
        dy = dy[None] if t.alone else dy
        shape("cross_entropy_backward", "dy", dy, (t.x.shape[0], *t.x.shape[2:]))
        dy = dy[:, None]
    else:
        shape("cross_entropy_backward", "dy", dy, ())
        with np.errstate(invalid="ignore", divide="ignore"):
            dy = dy / x.dtype.type(t.count) if reduction == "mean" else dy
    if t.x.size == 0:
        return np.zeros(x.shape, x.dtype)
    dx = t.slope(softmax(t.x, 1))
    dx *= dy
    return dx.reshape(x.shape)
