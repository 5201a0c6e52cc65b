"""Pooling of images (N, C, H, W) or (C, H, W), and the gradients."""
import math

import numpy as np

from ..errors import DtypeError, ShapeError
from ._check import Result, arrays, crew, image, kernels, packed, pair, shape


def _outputs(name, size, kernel, stride, padding, dilation, ceil_mode):
    """How many windows fit along one axis: with ceil_mode also one that starts inside and ends beyond."""
    if padding > kernel // 2:
        raise ShapeError(f"{name}: expected padding of at most half the kernel's {kernel}, got {padding}")
    room = size + 2 * padding - dilation * (kernel - 1) - 1
    outs = (room + (stride - 1 if ceil_mode else 0)) // stride + 1
    if ceil_mode and (outs - 1) * stride >= size + padding:
        outs -= 1
    if outs < 1 or size == 0:
        raise ShapeError(f"{name}: expected an image of at least the kernel's size {dilation * (kernel - 1) + 1}, "
                         f"got {size} and padding {padding}")
    return outs


class _Windows:
    """The windows of a pool over images of shape (N, C, H, W)."""

    def __init__(self, name, full, kernel_size, stride, padding, dilation, ceil_mode):
        self.kernel = pair(name, "kernel_size", kernel_size)
        step = self.kernel if stride is None else pair(name, "stride", stride)
        self.pad, far = pair(name, "padding", padding, 0), pair(name, "dilation", dilation)
        self.outs = tuple(_outputs(name, full[2 + a], self.kernel[a], step[a], self.pad[a], far[a], ceil_mode) for a in (0, 1))
        self.planes, self.work = full[0] * full[1], math.prod(full) + full[0] * full[1] * self.outs[0] * self.outs[1]
        self.shape = (*full[:2], *self.outs)
        self.geometry = (*full[2:], *self.outs, *self.kernel, *step, *far, *self.pad)


def _alone(array, alone):
    return array[0] if alone else array


def _run(op, w, x, y, where=None, count_pad=1, divisor=0):
    kernels(x).pool(op, x, y, where, w.planes, w.geometry, w.pad, count_pad, divisor, crew(w.work // 4))


def max_pool2d(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False, *, out=None):
    """The greatest of each window: (N, C, H, W) -> (N, C, H', W').

    H' = floor((H + 2 padding - dilation (kernel - 1) - 1) / stride) + 1 (or ceil); stride None is the kernel's size; int or
    pair everywhere. Padding never wins; the first of equals does; NaN does. return_indices: also the int64
    h W + w of each winner."""
    x, alone = image("max_pool2d", "x", arrays("max_pool2d", x=x))
    w = _Windows("max_pool2d", x.shape, kernel_size, stride, padding, dilation, ceil_mode)
    x = packed(x)
    y = Result("max_pool2d", out, w.shape[1:] if alone else w.shape, x.dtype, (x,))
    where = np.empty(w.shape, np.int64) if return_indices else None
    _run("max", w, x, y.array, where)
    return (y.done(), _alone(where, alone)) if return_indices else y.done()


def max_pool2d_backward(dy, indices, input_shape):
    """dx of input_shape: each dy (N, C, H', W') added at its winner, the h W + w that max_pool2d returned."""
    dy, alone = image("max_pool2d_backward", "dy", arrays("max_pool2d_backward", dy=dy))
    where = np.asarray(indices)
    if where.dtype.kind not in "iu":
        raise DtypeError(f"max_pool2d_backward: expected indices of integers, got {where.dtype}")
    full = (1, *input_shape) if alone else tuple(input_shape)
    if len(full) != 4 or full[:2] != dy.shape[:2]:
        raise ShapeError(f"max_pool2d_backward: expected input_shape with the N and C of dy {dy.shape}, got "
                         f"{tuple(input_shape)}")
    where = where[None] if alone else where
    shape("max_pool2d_backward", "indices", where, dy.shape)
    if where.size and not 0 <= where.min() <= where.max() < full[2] * full[3]:
        raise ShapeError(f"max_pool2d_backward: expected indices from 0 to {full[2] * full[3] - 1}, got {where.min()} to "
                         f"{where.max()}")
    dy, where, dx = packed(dy), packed(where.astype(np.int64, copy=False)), np.empty(full, dy.dtype)
    geometry = (*full[2:], *dy.shape[2:], 1, 1, 1, 1, 1, 1, 0, 0)
    kernels(dy).pool("max_backward", dy, dx, where, full[0] * full[1], geometry, (0, 0), 0, 0, crew(dx.size // 4 + dy.size))
    return _alone(dx, alone)


def _divisor(name, value):
    if value is not None and (isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1):
        raise ShapeError(f"{name}: expected divisor_override to be an integer of 1 or more, got {value!r}")
    return int(value or 0)


def avg_pool2d(x, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None, *,
               out=None):
    """The mean of each window: (N, C, H, W) -> (N, C, H', W'), H' as in max_pool2d without dilation.

    Padding is zeros, and counts in the divisor with count_include_pad; what ceil_mode reads beyond the padding never does;
    divisor_override divides every sum instead."""
    x, alone = image("avg_pool2d", "x", arrays("avg_pool2d", x=x))
    w = _Windows("avg_pool2d", x.shape, kernel_size, stride, padding, 1, ceil_mode)
    x, divisor = packed(x), _divisor("avg_pool2d", divisor_override)
    y = Result("avg_pool2d", out, w.shape[1:] if alone else w.shape, x.dtype, (x,))
    _run("avg", w, x, y.array, None, bool(count_include_pad), divisor)
    return y.done()


def avg_pool2d_backward(dy, input_shape, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True,
                        divisor_override=None):
    """dx of input_shape: every cell of a window gets dy over the window's divisor."""
    name = "avg_pool2d_backward"
    dy, alone = image(name, "dy", arrays(name, dy=dy))
    w = _backward_windows(name, dy, alone, input_shape, lambda full: _Windows(
        name, full, kernel_size, stride, padding, 1, ceil_mode))
    dy, dx = packed(dy), np.empty((*w.shape[:2], *w.geometry[:2]), dy.dtype)
    _run("avg_backward", w, dy, dx, None, bool(count_include_pad), _divisor(name, divisor_override))
    return _alone(dx, alone)


def _backward_windows(name, dy, alone, input_shape, make):
    full = (1, *input_shape) if alone else tuple(input_shape)
    if len(full) != 4:
        raise ShapeError(f"{name}: expected input_shape of {3 if alone else 4} dimensions, as dy has, got {tuple(input_shape)}")
    w = make(full)
    shape(name, "dy", dy, w.shape)
    return w


class _Cells:
    """The windows of adaptive pooling: row o is rows floor(o H / H') to ceil((o + 1) H / H')."""

    def __init__(self, name, full, output_size):
        two = output_size if isinstance(output_size, (tuple, list)) else (output_size, output_size)
        self.outs = pair(name, "output_size", tuple(full[2 + a] if v is None else v for a, v in enumerate(two)), 0)
        self.shape, self.planes, self.pad = (*full[:2], *self.outs), full[0] * full[1], (0, 0)
        if not full[2] * full[3] and self.outs[0] * self.outs[1]:
            raise ShapeError(f"{name}: expected an image to take the mean of, got shape {full}")
        self.work, self.geometry = math.prod(full), (*full[2:], *self.outs, 1, 1, 1, 1, 1, 1, 0, 0)


def adaptive_avg_pool2d(x, output_size, *, out=None):
    """The mean of H' x W' windows that cover the image: row o is the rows floor(o H / H') to ceil((o + 1) H / H').
    output_size: int or pair, None keeps that size."""
    x, alone = image("adaptive_avg_pool2d", "x", arrays("adaptive_avg_pool2d", x=x))
    w = _Cells("adaptive_avg_pool2d", x.shape, output_size)
    x = packed(x)
    y = Result("adaptive_avg_pool2d", out, w.shape[1:] if alone else w.shape, x.dtype, (x,))
    if y.array.size:
        _run("adaptive", w, x, y.array)
    return y.done()


def adaptive_avg_pool2d_backward(dy, input_shape):
    """dx of input_shape: every cell of a window gets dy over the window's size."""
    name = "adaptive_avg_pool2d_backward"
    dy, alone = image(name, "dy", arrays(name, dy=dy))
    w = _backward_windows(name, dy, alone, input_shape, lambda full: _Cells(name, full, dy.shape[2:]))
    dy, dx = packed(dy), np.empty((*w.shape[:2], *w.geometry[:2]), dy.dtype)
    _run("adaptive_backward", w, dy, dx)
    return _alone(dx, alone)
