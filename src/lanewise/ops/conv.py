"""Convolutions of images (N, C, H, W) or (C, H, W), and their gradients."""
from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from .._kernels.calls import Geometry, Result, arrays, crew, empty, image, kernels, ndim, packed, pair, shape
from ..errors import ShapeError
from .columns import groups_of
from .matmul import matmul

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import ArrayLike

    from .._types import Array, Size

COLUMNS = 1 << 19       # numbers of im2col at a time: 2 MB, which the product finds in L2 or L3
SCRATCH = 1 << 22       # numbers of a group's staged pixels that a thread keeps for itself: 16 MB
SHARD = 1 << 20         # numbers of a sample's image and result above which a shard of lanes is far larger than the caches


def _padding(name: str, padding: Any, kernel: Any, stride: Any, dilation: Any) -> Any:
    """(top, left, bottom, right)."""
    if padding == "valid":
        return 0, 0, 0, 0
    if padding == "same":
        if stride != (1, 1):
            raise ShapeError(f"{name}: expected stride 1 with padding 'same', got {stride}")
        total = [d * (k - 1) for d, k in zip(dilation, kernel)]
        return tuple(t // 2 for t in total) + tuple(t - t // 2 for t in total)
    if isinstance(padding, str):
        raise ShapeError(f"{name}: expected padding 'same', 'valid', an integer or a pair, got {padding!r}")
    return pair(name, "padding", padding, 0) * 2


def _geometry(name: str, x: Any, weight: Any, stride: Any, padding: Any, dilation: Any, groups: Any) -> Any:
    """(Geometry, groups), checked against (N, C, H, W) and (O, C / groups, KH, KW)."""
    ndim(name, "weight", weight, 4, "O, C / groups, KH, KW")
    stride, dilation, kernel = pair(name, "stride", stride), pair(name, "dilation", dilation), weight.shape[2:]
    groups = groups_of(name, groups, x.shape[1], weight.shape[0])
    if x.shape[1] != weight.shape[1] * groups:
        raise ShapeError(f"{name}: expected x with {weight.shape[1] * groups} channels for weight {weight.shape} and groups "
                         f"{groups}, got x {x.shape}")
    if 0 in kernel:
        raise ShapeError(f"{name}: expected a kernel of at least 1x1, got weight {weight.shape}")
    return Geometry(name, x.shape[2:], kernel, stride, _padding(name, padding, kernel, stride, dilation), dilation), groups


def _chosen(name: str, algorithm: Any, x: Any, weight: Any, y_shape: Any, backward: Any = False) -> str:
    """From 2 LANES samples of more than 4 channels (backward: of any) with kernels above 1x1 "lanes", else "gemm".

    Lanes against gemm, one thread, ms: 32->64 3x3 16x16, 128 samples 6.3, 12.0; 6->16 5x5, 128: 0.40, 0.48; 3->32 3x3, 64: 2.2,
    1.3; depthwise 3x3, 64: 0.52, 0.41; 64->128 1x1, 64: 4.6, 3.3; backward 1->6 5x5, 128: 1.5, 2.8."""
    if algorithm is None:
        fits = max(math.prod(x.shape[1:]), math.prod(y_shape[1:])) <= SHARD
        wide = backward or weight.shape[1] > 4
        many = x.shape[0] >= 2 * kernels(x).lanes and wide and weight.shape[2] * weight.shape[3] > 1
        algorithm = "lanes" if many and fits else "gemm"
    if algorithm not in ("gemm", "lanes"):
        raise ShapeError(f"{name}: expected algorithm 'gemm', 'lanes' or None, got {algorithm!r}")
    return algorithm if x.size and math.prod(y_shape) else "gemm"


def _chunks(n: int, g: Any, channels: int) -> Any:
    """Spans of samples whose columns are COLUMNS numbers or fewer."""
    step = max(1, COLUMNS // max(1, channels * g.taps * g.pixels))
    return [(i, min(n, i + step)) for i in range(0, n, step)]


def _columns(x: Any, g: Any, groups: int) -> Any:
    """x (n, C, H, W) -> (n, groups, C / groups * KH * KW, L)."""
    cols = x if g.plain else empty((len(x), x.shape[1] * g.taps, g.pixels), x)
    if not g.plain:
        g.move(x, cols)
    return cols.reshape(len(x), groups, x.shape[1] // groups * g.taps, g.pixels)


def _direct(x: Any, weight: Any, bias: Any, g: Any, groups: int, y: Array) -> None:
    """y = bias + weight x windows: samples over the threads; of one sample, and of one too large for a thread's scratch, its
    tiles."""
    if not y.size:
        return
    ins, outs, k = weight.shape[1], weight.shape[0] // groups, kernels(x)
    size, work = k.staged(g.numbers, outs, True), y.size * (ins * g.taps + 16) // 16
    if len(x) > 1 and ins * size <= SCRATCH:
        k.conv(x, weight, packed(bias), y, None, len(x), g.numbers, groups, ins, outs, crew(work))
        return
    room = empty((groups * ins * size,), x)
    for i in range(len(x)):
        k.conv(x[i], weight, packed(bias), y[i], room, 1, g.numbers, groups, ins, outs, crew(work // len(x)))


def _input_grad(dy: Any, weight: Any, g: Any, groups: int, dx: Any) -> None:
    """dx = the images of the columns weight^T dy."""
    w = weight.reshape(groups, weight.shape[0] // groups, weight.shape[1] * g.taps).swapaxes(1, 2)
    for i, j in _chunks(len(dy), g, dx.shape[1]):
        cols = matmul(w, dy[i:j].reshape(j - i, groups, w.shape[2], g.pixels))
        if g.plain:
            dx[i:j] = cols.reshape(dx[i:j].shape)
        else:
            g.move(dx[i:j], cols, True)


def _weight_grad(dy: Any, x: Any, g: Any, groups: int, shape: Any) -> Array:
    """dweight = sum over samples of dy columns^T."""
    dw = np.zeros((groups, shape[0] // groups, shape[1] * g.taps), x.dtype)
    for i, j in _chunks(len(x), g, x.shape[1]):
        dw += matmul(dy[i:j].reshape(j - i, groups, dw.shape[1], g.pixels), _columns(x[i:j], g, groups).swapaxes(2, 3)).sum(0)
    return dw.reshape(shape)


def conv2d(x: ArrayLike, weight: ArrayLike, bias: ArrayLike | None = None, stride: Size = 1, padding: Size | str = 0,
           dilation: Size = 1, groups: int = 1, *, algorithm: str | None = None, out: Array | None = None) -> Array:
    """y[n, o] = bias[o] + sum over c of weight[o, c] * x[n, c]: (N, C, H, W), (O, C / groups, KH, KW), (O,) -> (N, O, H', W').

    H' = floor((H + 2 padding - dilation (KH - 1) - 1) / stride) + 1. int or pair everywhere; padding also "valid" (0) or "same"
    (H' = H; the odd row and column at the end). algorithm "gemm": sums over pixels (backward im2col and matrix products);
    "lanes": one sample per SIMD lane; None: lanes from 2 LANES samples of more than 4 channels whose images are not large, with
    kernels above 1x1."""
    x, weight, bias = arrays("conv2d", x=x, weight=weight, bias=bias)
    x, alone = image("conv2d", "x", x)
    g, groups = _geometry("conv2d", x, weight, stride, padding, dilation, groups)
    shape("conv2d", "bias", bias, weight.shape[:1])
    full = (x.shape[0], weight.shape[0], *g.outs)
    x, weight = packed(x, weight)
    y = Result("conv2d", out, full[1:] if alone else full, x, (x, weight, bias))
    if _chosen("conv2d", algorithm, x, weight, full) == "lanes":
        from . import conv_lanes
        conv_lanes.forward(x, weight, bias, g, groups, y.array.reshape(full))
    else:
        _direct(x, weight, bias, g, groups, y.array.reshape(full))
    return y.done()


def conv2d_backward(dy: ArrayLike, x: ArrayLike, weight: ArrayLike, stride: Size = 1, padding: Size | str = 0,
                    dilation: Size = 1, groups: int = 1, *, algorithm: str | None = None) -> tuple[Array, Array, Array]:
    """(dx, dweight, dbias) of conv2d from dy (N, O, H', W')."""
    name = "conv2d_backward"
    dy, x, weight = arrays(name, dy=dy, x=x, weight=weight)
    x, alone = image(name, "x", x)
    dy = dy[None] if alone else dy
    g, groups = _geometry(name, x, weight, stride, padding, dilation, groups)
    shape(name, "dy", dy, (x.shape[0], weight.shape[0], *g.outs))
    dy, x, weight = packed(dy, x, weight)
    if _chosen(name, algorithm, x, weight, dy.shape, True) == "lanes":
        from . import conv_lanes
        dx, dw, db = conv_lanes.backward(dy, x, weight, g, groups)
    else:
        dx = empty(x.shape, x)
        _input_grad(dy, weight, g, groups, dx)
        dw, db = _weight_grad(dy, x, g, groups, weight.shape), dy.sum((0, 2, 3))
    return (dx[0] if alone else dx), dw, db


def _transposed(name: str, x: Any, weight: Any, stride: Any, padding: Any, output_padding: Any, groups: Any,
                dilation: Any) -> Any:
    """(Geometry over the result, groups, channels of the result); weight (C, O / groups, KH, KW)."""
    ndim(name, "weight", weight, 4, "C, O / groups, KH, KW")
    stride, dilation = pair(name, "stride", stride), pair(name, "dilation", dilation)
    pad, more, kernel = pair(name, "padding", padding, 0), pair(name, "output_padding", output_padding, 0), weight.shape[2:]
    if any(m >= max(s, d) for m, s, d in zip(more, stride, dilation)):
        raise ShapeError(f"{name}: expected output_padding smaller than stride or dilation, got {more}")
    if x.shape[1] != weight.shape[0]:
        raise ShapeError(f"{name}: expected x with {weight.shape[0]} channels for weight {weight.shape}, got x {x.shape}")
    groups = groups_of(name, groups, x.shape[1])
    size = tuple((x.shape[2 + a] - 1) * stride[a] - 2 * pad[a] + dilation[a] * (kernel[a] - 1) + more[a] + 1 for a in (0, 1))
    if min(*size, *kernel, *x.shape[2:]) < 1:
        raise ShapeError(f"{name}: expected a result of at least 1x1, got {size[0]}x{size[1]} for x {x.shape}")
    return Geometry(name, size, kernel, stride, pad, dilation, x.shape[2:]), groups, weight.shape[1] * groups


def conv_transpose2d(x: ArrayLike, weight: ArrayLike, bias: ArrayLike | None = None, stride: Size = 1, padding: Size = 0,
                     output_padding: Size = 0, groups: int = 1, dilation: Size = 1, *, out: Array | None = None) -> Array:
    """The gradient of conv2d with respect to its input, as a layer: (N, C, H, W), (C, O / groups, KH, KW), (O,) ->
    (N, O, H', W'), H' = (H - 1) stride - 2 padding + dilation (KH - 1) + output_padding + 1."""
    name = "conv_transpose2d"
    x, weight, bias = arrays(name, x=x, weight=weight, bias=bias)
    x, alone = image(name, "x", x)
    g, groups, outs = _transposed(name, x, weight, stride, padding, output_padding, groups, dilation)
    shape(name, "bias", bias, (outs,))
    full = (x.shape[0], outs, *g.size)
    x, weight = packed(x, weight)
    y = Result(name, out, full[1:] if alone else full, x, (x, weight, bias))
    images = y.array.reshape(full)
    _input_grad(x, weight, g, groups, images)
    if bias is not None:
        images += bias[:, None, None]
    return y.done()


def conv_transpose2d_backward(dy: ArrayLike, x: ArrayLike, weight: ArrayLike, stride: Size = 1, padding: Size = 0,
                              output_padding: Size = 0, groups: int = 1, dilation: Size = 1) -> tuple[Array, Array, Array]:
    """(dx, dweight, dbias) of conv_transpose2d: dx is conv2d of dy."""
    name = "conv_transpose2d_backward"
    dy, x, weight = arrays(name, dy=dy, x=x, weight=weight)
    x, alone = image(name, "x", x)
    dy = dy[None] if alone else dy
    g, groups, outs = _transposed(name, x, weight, stride, padding, output_padding, groups, dilation)
    shape(name, "dy", dy, (x.shape[0], outs, *g.size))
    dy, x, weight = packed(dy, x, weight)
    dx = empty(x.shape, x)
    _direct(dy, weight, None, g, groups, dx)
    return (dx[0] if alone else dx), _weight_grad(x, dy, g, groups, weight.shape), dy.sum((0, 2, 3))
