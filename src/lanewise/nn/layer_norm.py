"""Normalisation layers over one sample, with PyTorch's names, arguments and initialisation."""
from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ..graph import apply
from ..nodes import layer_norm
from ..parameter import Parameter
from ._check import count
from .module import Module

if TYPE_CHECKING:
    from typing import Any

    from .._types import Shape, Size
    from ..graph import Value


def _affine(module: LayerNorm | GroupNorm, shape: Shape, weight: bool, bias: bool) -> None:
    """Weights of one and biases of zero, or None."""
    module.weight = Parameter(np.ones(shape, np.float32)) if weight else None
    module.bias = Parameter(np.zeros(shape, np.float32)) if bias else None


def _eps(eps: Any) -> float:
    if isinstance(eps, bool) or not isinstance(eps, (int, float)) or not 0 < eps < math.inf:
        raise ValueError(f"eps: expected a number above 0, got {eps!r}")
    return float(eps)


class LayerNorm(Module):
    """Numbers of mean 0 and variance 1 over the last dimensions of each sample, same shape.

    y = (x - mean) / sqrt(var + eps) * weight + bias, var = mean (x - mean)^2. `normalized_shape`: the last dimensions, an int
    or a tuple; weight (ones) and bias (zeros) have that shape, with elementwise_affine. ValueError for arguments out of range;
    ShapeError for an input that ends otherwise. Source: Ba, Kiros and Hinton 2016."""

    weight: Parameter | None
    bias: Parameter | None

    def __init__(self, normalized_shape: Size, eps: float = 1e-5, elementwise_affine: bool = True, bias: bool = True) -> None:
        super().__init__()
        shape = normalized_shape if isinstance(normalized_shape, (tuple, list)) else (normalized_shape,)
        self.normalized_shape = tuple(count(n, "normalized_shape") for n in shape)
        if not self.normalized_shape:
            raise ValueError("normalized_shape: expected at least one dimension, got none")
        self.eps, self.elementwise_affine = _eps(eps), bool(elementwise_affine)
        _affine(self, self.normalized_shape, elementwise_affine, elementwise_affine and bias)

    def forward(self, x: Value) -> Value:
        """Same shape."""
        return apply(layer_norm.LayerNorm(self.normalized_shape, self.weight, self.bias, self.eps), x)

    def extra_repr(self) -> str:
        """The arguments."""
        return f"{self.normalized_shape}, eps={self.eps:g}, elementwise_affine={self.elementwise_affine}"


class GroupNorm(Module):
    """Numbers of mean 0 and variance 1 over each of num_groups runs of channels of a sample, (N, C, ...) -> the same shape.

    y = (x - mean) / sqrt(var + eps) * weight[c] + bias[c]. One group: all of a sample; as many groups as channels: instance
    normalisation. ValueError for arguments out of range; ShapeError for an input of other channels. Source: Wu and He 2018."""

    weight: Parameter | None
    bias: Parameter | None

    def __init__(self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True) -> None:
        super().__init__()
        self.num_groups, self.num_channels = count(num_groups, "num_groups"), count(num_channels, "num_channels")
        if self.num_channels % self.num_groups:
            raise ValueError(f"num_groups: expected a divisor of {num_channels} channels, got {num_groups}")
        self.eps, self.affine = _eps(eps), bool(affine)
        _affine(self, (self.num_channels,), affine, affine)

    def forward(self, x: Value) -> Value:
        """Same shape."""
        return apply(layer_norm.GroupNorm(self.num_groups, self.num_channels, self.weight, self.bias, self.eps), x)

    def extra_repr(self) -> str:
        """The arguments."""
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps:g}, affine={self.affine}"
