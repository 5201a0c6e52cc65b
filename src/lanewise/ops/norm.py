"""Batch and layer normalisation, and their gradients. Statistics are summed in float64 over samples."""
import math

import numpy as np

from ..errors import ShapeError
from ._check import Result, arrays, crew, kernels, packed, shape


class _Channels:
    """x (N, C, ...) as C-contiguous [n][c][s]; (N, C) is turned to [1][C][N], so that a channel is contiguous."""

    def __init__(self, name, x):
        if x.ndim < 2:
            raise ShapeError(f"{name}: expected x of 2 or more dimensions (N, C, ...), got shape {x.shape}")
        self.shape, self.flat = x.shape, x.ndim == 2
        self.c = x.shape[1]
        self.n, self.s = (1, x.shape[0]) if self.flat else (x.shape[0], math.prod(x.shape[2:]))
        self.count = self.n * self.s
        self.threads = crew(x.size // 4)
        self.x = self.turn(x)

    def turn(self, x):
        return packed(x.T if self.flat else x)

    def sums(self, x, dy, mean):
        """Per channel, float64: sum g and sum g (x - mean), g = dy or x - mean."""
        sums = np.empty((2, self.c))
        kernels(x).channel_sums(x, dy, mean, sums, self.n, self.c, self.s, self.threads)
        return sums

    def moments(self):
        """Mean and biased variance of each channel, float64."""
        mean = self.sums(self.x, None, None)[0] / self.count
        rest = self.sums(self.x, None, mean.astype(self.x.dtype)) / self.count
        near = mean.astype(self.x.dtype).astype(np.float64)
        return near + rest[0], rest[1] - rest[0] ** 2

    def affine(self, y, dy, mean, a, b, shift):
        """y = a dy + b (x - mean) + shift, each per channel."""
        a, b, shift, mean = (None if v is None else np.ascontiguousarray(v, self.x.dtype) for v in (a, b, shift, mean))
        kernels(self.x).channel_affine(self.x, dy, y, mean, a, b, shift, self.n, self.c, self.s, self.threads)


def _statistics(name, c, running_mean, running_var, training):
    if training:
        if c.count < 2:
            raise ShapeError(f"{name}: expected more than one value per channel in training, got shape {c.shape}")
        return c.moments()
    if running_mean is None or running_var is None:
        raise ShapeError(f"{name}: expected running_mean and running_var outside training, got None")
    return running_mean.astype(np.float64), running_var.astype(np.float64)


def batch_norm(x, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5, *, out=None):
    """y = (x - mean) / sqrt(var + eps) * weight + bias per channel: (N, C, ...) and (C,) -> (N, C, ...).

    In training mean and (biased) var are those of x, and running = (1 - momentum) running + momentum * (mean, unbiased var)
    is written into running_mean and running_var where given; otherwise they are used."""
    name = "batch_norm"
    x, running_mean, running_var, weight, bias = arrays(name, x=x, running_mean=running_mean, running_var=running_var,
                                                        weight=weight, bias=bias)
    c = _Channels(name, x)
    for key, v in (("running_mean", running_mean), ("running_var", running_var), ("weight", weight), ("bias", bias)):
        shape(name, key, v, (c.c,))
    mean, var = _statistics(name, c, running_mean, running_var, training)
    y = Result(name, out, x.shape, x.dtype, (c.x,), in_place=not c.flat)
    if x.size:
        z = np.empty_like(c.x) if c.flat else y.array
        scale = 1 / np.sqrt(var + eps)
        near = mean.astype(x.dtype)
        b = scale if weight is None else scale * weight
        c.affine(z, None, near, None, b, (near - mean) * b + (0 if bias is None else bias))
        if c.flat:
            y.array[...] = z.T
    if training:
        for running, now in ((running_mean, mean), (running_var, var * (c.count / (c.count - 1)))):
            if running is not None:
                running[...] = (1 - momentum) * running + momentum * now
    return y.done()


def batch_norm_backward(dy, x, running_mean, running_var, weight=None, training=False, eps=1e-5):
    """(dx, dweight, dbias) of batch_norm; xhat = (x - mean) / sqrt(var + eps), recomputed.

    dbias = sum dy, dweight = sum dy xhat, dx = weight / sqrt(var + eps) * (dy - (dbias + xhat dweight) / count) in
    training, without the bracket's second term otherwise."""
    name = "batch_norm_backward"
    dy, x, running_mean, running_var, weight = arrays(name, dy=dy, x=x, running_mean=running_mean, running_var=running_var,
                                                      weight=weight)
    shape(name, "dy", dy, x.shape)
    c = _Channels(name, x)
    for key, v in (("running_mean", running_mean), ("running_var", running_var), ("weight", weight)):
        shape(name, key, v, (c.c,))
    mean, var = _statistics(name, c, running_mean, running_var, training)
    near, scale, g = mean.astype(x.dtype), 1 / np.sqrt(var + eps), c.turn(dy)
    total, product = c.sums(c.x, g, near)
    product += (near - mean) * total
    product *= scale
    a = scale if weight is None else scale * weight
    b = -a * scale * product / c.count if training else np.zeros(c.c)
    shift = -a * total / c.count + b * (near - mean) if training else np.zeros(c.c)
    dx = np.empty_like(c.x)
    c.affine(dx, g, near, a, b, shift)
    return (packed(dx.T) if c.flat else dx), product.astype(x.dtype), total.astype(x.dtype)


def _rows(name, x, normalized_shape, weight, bias=None):
    size = (normalized_shape,) if isinstance(normalized_shape, (int, np.integer)) else tuple(normalized_shape)
    if not size or x.shape[x.ndim - len(size):] != size or len(size) > x.ndim:
        raise ShapeError(f"{name}: expected x whose last dimensions are {size}, got shape {x.shape}")
    shape(name, "weight", weight, size)
    shape(name, "bias", bias, size)
    n = math.prod(size)
    if n == 0:
        raise ShapeError(f"{name}: expected at least one number in a row, got shape {x.shape}")
    return x.size // n, n


def layer_norm(x, normalized_shape, weight=None, bias=None, eps=1e-5, *, out=None):
    """y = (x - mean) / sqrt(var + eps) * weight + bias over the last dimensions, which are normalized_shape, as are weight
    and bias; var is biased."""
    x, weight, bias = arrays("layer_norm", x=x, weight=weight, bias=bias)
    rows, size = _rows("layer_norm", x, normalized_shape, weight, bias)
    x, weight, bias = packed(x, weight, bias)
    y = Result("layer_norm", out, x.shape, x.dtype, (x, weight, bias), in_place=True)
    kernels(x).layer_norm(x, None, y.array, weight, bias, None, rows, size, eps, crew(x.size // 2))
    return y.done()


def layer_norm_backward(dy, x, normalized_shape, weight=None, eps=1e-5):
    """(dx, dweight, dbias) of layer_norm; with g = dy weight, dx = (g - mean g - xhat mean(g xhat)) / sqrt(var + eps)."""
    name = "layer_norm_backward"
    dy, x, weight = arrays(name, dy=dy, x=x, weight=weight)
    shape(name, "dy", dy, x.shape)
    rows, size = _rows(name, x, normalized_shape, weight)
    dy, x, weight = packed(dy, x, weight)
    k, dx = kernels(x), np.empty(x.shape, x.dtype)
    sums = np.empty((k.parts, 2, size), x.dtype)
    k.layer_norm(x, dy, dx, weight, None, sums, rows, size, eps, crew(x.size))
    sums = sums.sum(0)
    like = x.shape[x.ndim - 1:] if isinstance(normalized_shape, (int, np.integer)) else tuple(normalized_shape)
    return dx, sums[0].reshape(like), sums[1].reshape(like)
