"""Losses on images, written with arithmetic on traced values: called, they give a Loss handle."""
from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import ShapeError
from . import functional as F
from .module import Module

if TYPE_CHECKING:
    from .._types import Operand
    from ..graph import Value
    from ..loss import Loss


class _ImageLoss(Module):
    def __init__(self, reduction: str = "mean") -> None:
        super().__init__()
        if reduction not in ("mean", "sum"):
            raise ValueError(f"{type(self).__name__}: expected reduction 'mean' or 'sum', got {reduction!r}")
        self.reduction = reduction

    if TYPE_CHECKING:
        def __call__(self, *inputs: Operand) -> Loss: ...       # type: ignore[override]

    def _image(self, x: Value) -> Value:
        if x.ndim != 4:
            raise ShapeError(f"expected an input of 4 dimensions (N, C, H, W), got {x.shape}")
        return x

    def extra_repr(self) -> str:
        """The arguments."""
        return f"reduction={self.reduction!r}"


class TotalVariationLoss(_ImageLoss):
    """How much an image changes from pixel to pixel (Rudin, Osher, Fatemi 1992, in its anisotropic form):

    L[n] = sum_chw |x[c, h+1, w] - x[c, h, w]|^power + |x[c, h, w+1] - x[c, h, w]|^power, a mean or a sum over the batch.

    x (N, C, H, W), H and W at least 2; power 1 or 2. The gradient at equal pixels is 0."""

    def __init__(self, power: int = 1, reduction: str = "mean") -> None:
        super().__init__(reduction)
        if power not in (1, 2):
            raise ValueError(f"TotalVariationLoss: expected power 1 or 2, got {power!r}")
        self.power = power

    def forward(self, x: Value) -> Loss:
        """(N, C, H, W) -> Loss."""
        self._image(x)
        if min(x.shape[2:]) < 2:
            raise ShapeError(f"expected an image of at least 2 x 2 pixels, got {x.shape}")
        down, across = x[:, :, 1:] - x[:, :, :-1], x[:, :, :, 1:] - x[:, :, :, :-1]
        down, across = (abs(d) if self.power == 1 else d ** 2 for d in (down, across))
        every = down.sum((1, 2, 3)) + across.sum((1, 2, 3))
        return every.mean() if self.reduction == "mean" else every.sum()


class GramLoss(_ImageLoss):
    """How far two images' styles are apart: the correlations of their channels (Gatys, Ecker, Bethge 2016).

    L[n] = mean_ij (G(x)[i, j] - G(target)[i, j])^2, G = F F^T / (C H W), F the channels as rows (C, H W); a mean or a sum over
    the batch. x and target (N, C, H, W), of equal N and C; the sizes of the images may differ."""

    def forward(self, x: Value, target: Value) -> Loss:
        """(N, C, H, W), (N, C, H', W') -> Loss."""
        if self._image(x).shape[:2] != self._image(target).shape[:2]:
            raise ShapeError(f"expected a target of {x.shape[0]} samples and {x.shape[1]} channels, got {target.shape}")
        every = ((F.gram_matrix(x) - F.gram_matrix(target)) ** 2).mean((1, 2))
        return every.mean() if self.reduction == "mean" else every.sum()
