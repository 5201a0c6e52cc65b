"""Maxout: the greatest of several linear layers."""
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..graph import apply
from ..nodes import dense, pool
from ..parameter import Parameter
from ..rng import as_rng
from ._check import count
from .layers import uniform
from .module import Module

if TYPE_CHECKING:
    from .._types import Seed
    from ..graph import Value


class Maxout(Module):
    """y[o] = max over pieces p of (w[p, o] x + b[p, o]), (N, in_features) -> (N, out_features).

    Two pieces: max(w1 x + b1, w2 x + b2). weight (pieces * O, I), the first O rows the first piece, and bias from U(-k, k),
    k = 1 / sqrt(I), as in Linear. The gradient goes to the first of equal winners; NaN wins. ValueError for arguments out of
    range; ShapeError for an input of other features. Source: Goodfellow et al. 2013."""

    def __init__(self, in_features: int, out_features: int, pieces: int = 2, rng: Seed = None) -> None:
        super().__init__()
        self.in_features, self.out_features = count(in_features, "in_features"), count(out_features, "out_features")
        self.pieces = count(pieces, "pieces")
        rng, bound = as_rng(rng), 1 / np.sqrt(self.in_features)
        self.weight = Parameter(uniform(rng, (self.pieces * self.out_features, self.in_features), bound))
        self.bias = Parameter(uniform(rng, self.pieces * self.out_features, bound))

    def forward(self, x: Value) -> Value:
        """(N, in_features) -> (N, out_features)."""
        window = (self.pieces, 1)
        lines = apply(dense.Linear(self.weight, self.bias), x).reshape(-1, 1, self.pieces, self.out_features)
        return apply(pool.MaxPool2d(window, window, (0, 0)), lines).reshape(-1, self.out_features)

    def extra_repr(self) -> str:
        """The arguments."""
        return f"in_features={self.in_features}, out_features={self.out_features}, pieces={self.pieces}"
