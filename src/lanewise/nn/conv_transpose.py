"""Transposed convolution, with PyTorch's names, arguments and initialisation."""
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..graph import apply
from ..nodes import conv_transpose
from ..parameter import Parameter
from ..rng import as_rng
from ._check import count, pair
from .layers import uniform
from .module import Module

if TYPE_CHECKING:
    from .._types import Seed, Size
    from ..graph import Value


class ConvTranspose2d(Module):
    """2-D transposed convolution, (N, C, H, W) -> (N, O, H', W'): the gradient of a Conv2d with regard to its image.

    y[n, o, s h + d k - p] += w[c, o, k] * x[n, c, h] over both axes, + b[o], H' = (H - 1) stride - 2 padding +
    dilation (K - 1) + output_padding + 1. `output_padding` adds rows and columns at the far side that no tap may reach.
    Weights (C, O / groups, KH, KW) and the bias from U(-k, k), k = 1 / sqrt(O / groups * KH * KW): PyTorch's default.
    ValueError for arguments out of range; ShapeError for an input of other rank or channels, or an empty result.
    Source: Dumoulin and Visin 2016, section 4."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: Size, stride: Size = 1, padding: Size = 0,
                 output_padding: Size = 0, groups: int = 1, bias: bool = True, dilation: Size = 1, rng: Seed = None) -> None:
        super().__init__()
        self.in_channels, self.out_channels = count(in_channels, "in_channels"), count(out_channels, "out_channels")
        self.kernel_size, self.stride = pair(kernel_size, "kernel_size", 1), pair(stride, "stride", 1)
        self.padding, self.output_padding = pair(padding, "padding", 0), pair(output_padding, "output_padding", 0)
        self.dilation, self.groups = pair(dilation, "dilation", 1), count(groups, "groups")
        if self.in_channels % self.groups or self.out_channels % self.groups:
            raise ValueError(f"groups: expected a divisor of {in_channels} and {out_channels} channels, got {groups}")
        if any(o >= max(s, d) for o, s, d in zip(self.output_padding, self.stride, self.dilation)):
            raise ValueError(f"output_padding: expected less than stride {self.stride} or dilation {self.dilation}, got "
                             f"{self.output_padding}")
        rng = as_rng(rng)
        shape = (self.in_channels, self.out_channels // self.groups, *self.kernel_size)
        bound = 1 / np.sqrt(np.prod(shape[1:]))
        self.weight = Parameter(uniform(rng, shape, bound))
        self.bias = Parameter(uniform(rng, self.out_channels, bound)) if bias else None

    def forward(self, x: Value) -> Value:
        """(N, C, H, W) -> (N, O, H', W')."""
        return apply(conv_transpose.ConvTranspose2d(self.weight, self.bias, self.stride, self.padding, self.output_padding,
                                                    self.dilation, self.groups), x)

    def extra_repr(self) -> str:
        """The arguments."""
        return (f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}, "
                f"padding={self.padding}, output_padding={self.output_padding}")
