"""Layers: PyTorch's names, arguments, shapes and default initialisation."""
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..parameter import Parameter
from ..rng import as_rng
from . import functional as F
from ._check import count, pair
from .module import Module

if TYPE_CHECKING:
    from .._types import Array, Seed, Shape, Size
    from ..graph import Value


def uniform(rng: np.random.Generator, shape: int | Shape, bound: float) -> Array:
    """float32 numbers from U(-bound, bound)."""
    return rng.uniform(-bound, bound, shape).astype(np.float32)


class Conv2d(Module):
    """2-D convolution (cross-correlation), (N, C, H, W) -> (N, O, H', W').

    y[n, o] = b[o] + sum_c w[o, c] * x[n, c],  H' = floor((H + 2 padding - dilation (K - 1) - 1) / stride) + 1.
    `padding`: pixels of zeros, or "same" (stride 1) or "valid". Weights (O, C / groups, KH, KW) from
    U(-k, k), k = 1 / sqrt(C / groups * KH * KW), the bias from the same: PyTorch's default (He et al. 2015, a = sqrt 5).
    ValueError for arguments out of range; ShapeError for an input of other rank, channels, or too small."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Size, stride: Size = 1, padding: Size | str = 0,
                 dilation: Size = 1, groups: int = 1, bias: bool = True, rng: Seed = None) -> None:
        super().__init__()
        self.in_channels, self.out_channels = count(in_channels, "in_channels"), count(out_channels, "out_channels")
        self.kernel_size, self.stride = pair(kernel_size, "kernel_size", 1), pair(stride, "stride", 1)
        self.dilation, self.groups = pair(dilation, "dilation", 1), count(groups, "groups")
        if self.in_channels % self.groups or self.out_channels % self.groups:
            raise ValueError(f"groups: expected a divisor of {in_channels} and {out_channels} channels, got {groups}")
        if padding == "valid":
            padding = 0
        self.padding = padding if padding == "same" else pair(padding, "padding", 0)
        if padding == "same" and self.stride != (1, 1):
            raise ValueError(f"padding 'same' expected stride 1, got {self.stride}")
        rng = as_rng(rng)
        shape = (self.out_channels, self.in_channels // self.groups, *self.kernel_size)
        bound = 1 / np.sqrt(np.prod(shape[1:]))
        self.weight = Parameter(uniform(rng, shape, bound))
        self.bias = Parameter(uniform(rng, self.out_channels, bound)) if bias else None

    def forward(self, x: Value) -> Value:
        """(N, C, H, W) -> (N, O, H', W')."""
        return F.conv2d(x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)

    def extra_repr(self) -> str:
        """The arguments."""
        return (f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}, "
                f"padding={self.padding!r}")


class Linear(Module):
    """y = x W^T + b, (N, in_features) -> (N, out_features), or for every row of (N, T, in_features). Weights (O, I) and bias from U(-k, k), k = 1 / sqrt(I)."""

    def __init__(self, in_features: int, out_features: int, bias: bool = True, rng: Seed = None) -> None:
        super().__init__()
        self.in_features, self.out_features = count(in_features, "in_features"), count(out_features, "out_features")
        rng, bound = as_rng(rng), 1 / np.sqrt(self.in_features)
        self.weight = Parameter(uniform(rng, (self.out_features, self.in_features), bound))
        self.bias = Parameter(uniform(rng, self.out_features, bound)) if bias else None

    def forward(self, x: Value) -> Value:
        """(N, in_features) -> (N, out_features)."""
        return F.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        """The arguments."""
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class _Pool2d(Module):
    def __init__(self, kernel_size: Size, stride: Size | None = None, padding: Size = 0, *, ceil_mode: bool = False) -> None:
        super().__init__()
        self.kernel_size = pair(kernel_size, "kernel_size", 1)
        self.stride = self.kernel_size if stride is None else pair(stride, "stride", 1)
        self.padding = pair(padding, "padding", 0)
        if any(2 * p > k for p, k in zip(self.padding, self.kernel_size)):
            raise ValueError(f"padding: expected at most half of the window {self.kernel_size}, got {self.padding}")
        self.ceil_mode = bool(ceil_mode)

    def extra_repr(self) -> str:
        """The arguments."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxPool2d(_Pool2d):
    """The greatest of each window, (N, C, H, W) -> (N, C, H', W'), H' = floor((H + 2 padding - K) / stride) + 1.

    stride None: the window's size. ceil_mode rounds H' up: the last window may hang over the far edge, but begins within the
    image or the padding before it. Padding never wins; NaN does. The gradient goes to the first of equal winners."""

    def forward(self, x: Value) -> Value:
        """(N, C, H, W) -> (N, C, H', W')."""
        return F.max_pool2d(x, self.kernel_size, self.stride, self.padding, ceil_mode=self.ceil_mode)


class AvgPool2d(_Pool2d):
    """The mean of each window, (N, C, H, W) -> (N, C, H', W'); padding counts as zeros unless count_include_pad is False.

    ceil_mode as in MaxPool2d; what hangs over the padding as well is not counted."""

    def __init__(self, kernel_size: Size, stride: Size | None = None, padding: Size = 0, ceil_mode: bool = False,
                 count_include_pad: bool = True) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode=ceil_mode)
        self.count_include_pad = bool(count_include_pad)

    def forward(self, x: Value) -> Value:
        """(N, C, H, W) -> (N, C, H', W')."""
        return F.avg_pool2d(x, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad)


class Flatten(Module):
    """Joins dimensions start_dim to end_dim, in PyTorch's order (C, H, W)."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, x: Value) -> Value:
        """(N, C, H, W) -> (N, C*H*W) by default."""
        return x.flatten(self.start_dim, self.end_dim)


class Identity(Module):
    """Gives back its input."""

    def forward(self, x: Value) -> Value:
        """The same value."""
        return x
