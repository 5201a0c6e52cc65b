"""Batch normalisation and dropout: layers that train and evaluate differently."""
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..errors import ShapeError
from ..graph import apply
from ..nodes import batchnorm, dropout
from ..parameter import Buffer, Parameter
from ._check import count
from .module import Module

if TYPE_CHECKING:
    from ..graph import Value


class _BatchNorm(Module):
    dims: tuple[int, ...] = ()

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True,
                 track_running_stats: bool = True) -> None:
        super().__init__()
        self.num_features, self.eps = count(num_features, "num_features"), float(eps)
        if momentum is not None and not 0 <= momentum <= 1:
            raise ValueError(f"momentum: expected a number from 0 to 1, or None, got {momentum!r}")
        self.momentum = None if momentum is None else float(momentum)
        self.affine = bool(affine)
        self.weight = Parameter(np.ones(num_features, np.float32)) if affine else None
        self.bias = Parameter(np.zeros(num_features, np.float32)) if affine else None
        self.track_running_stats = bool(track_running_stats)
        if track_running_stats:
            self.running_mean = Buffer(np.zeros(num_features, np.float32))
            self.running_var = Buffer(np.ones(num_features, np.float32))
            self.num_batches_tracked = Buffer(np.zeros((), np.int64))

    def forward(self, x: Value) -> Value:
        """The same shape."""
        batchnorm.check_channels(x.node.shape, self.num_features, self.dims)
        running = (self.running_mean, self.running_var, self.num_batches_tracked) if self.track_running_stats else None
        return apply(batchnorm.BatchNorm(self.weight, self.bias, running, self.momentum, self.eps,
                                         self.training or running is None), x)

    def extra_repr(self) -> str:
        """The arguments."""
        return f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.weight is not None}"


class BatchNorm1d(_BatchNorm):
    """Batch normalisation of vectors (N, C) or sequences (N, C, L): y = (x - mean) / sqrt(var + eps) * w + b per channel.

    In training with the mean and variance of the batch (divided by its size); running_mean and running_var then move by
    `momentum` towards them (None: the mean of all batches; the variance there is divided by size - 1). In eval() with the
    running ones, unless track_running_stats is False. float32 sums about a pivot near the mean, joined in double.
    ShapeError for other ranks or channels, or a single number a channel in training.
    Source: Ioffe and Szegedy 2015; PyTorch's arguments and defaults."""
    dims = (2, 3)


class BatchNorm2d(_BatchNorm):
    """The same for images (N, C, H, W), over N, H and W."""
    dims = (4,)


class Dropout(Module):
    """In training, each number becomes 0 with probability p and else x / (1 - p); in eval() the input as it is.

    The mask is the same for any number of threads, and follows from manual_seed. ValueError for p outside 0 to 1.
    Source: Srivastava et al. 2014."""

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        if isinstance(p, bool) or not isinstance(p, (int, float)) or not 0 <= p <= 1:
            raise ValueError(f"p: expected a probability from 0 to 1, got {p!r}")
        self.p = float(p)

    def forward(self, x: Value) -> Value:
        """The same shape."""
        return apply(dropout.Dropout(self.p, False), x) if self.training and self.p > 0 else x

    def extra_repr(self) -> str:
        """The argument."""
        return f"p={self.p}"


class Dropout2d(Dropout):
    """Dropout of whole channels of images (N, C, H, W). Source: Tompson et al. 2015."""

    def forward(self, x: Value) -> Value:
        """The same shape."""
        if x.ndim != 4:
            raise ShapeError(f"expected an input of 4 dimensions (N, C, H, W), got {x.ndim}: shape {x.shape}")
        return apply(dropout.Dropout(self.p, True), x) if self.training and self.p > 0 else x
