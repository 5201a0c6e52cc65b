"""Layers that change an image's size: adaptive pooling and upsampling."""
from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ..errors import ShapeError
from ..graph import apply
from ..nodes import resample
from ._check import pair
from .module import Module

if TYPE_CHECKING:
    from typing import Any
    from collections.abc import Sequence

    from .._types import Shape, Size
    from ..graph import Value


def _image(x: Value) -> Shape:
    """(H, W) of a value (N, C, H, W)."""
    if x.ndim != 4:
        raise ShapeError(f"expected an input of 4 dimensions (N, C, H, W), got {x.ndim}: "
                         f"input (N, {', '.join(map(str, x.shape[1:]))})")
    return x.shape[2:]


class AdaptiveAvgPool2d(Module):
    """The means of H' x W' windows that cover the image, (N, C, H, W) -> (N, C, H', W').

    Window i of an axis of n pixels is floor(i n / n') to ceil((i + 1) n / n') - 1; windows overlap where n' does not divide n.
    `output_size`: a size, or (H', W'), None for the input's own. ValueError for other arguments; ShapeError for an input that
    is no image."""

    def __init__(self, output_size: int | Sequence[int | None] | None) -> None:
        super().__init__()
        two = tuple(output_size) if isinstance(output_size, (tuple, list)) else (output_size,) * 2
        if len(two) != 2:
            raise ValueError(f"output_size: expected an integer of at least 1, None, or two of these, got {output_size!r}")
        self.output_size = tuple(None if v is None else pair(v, "output_size", 1)[0] for v in two)

    def forward(self, x: Value) -> Value:
        """(N, C, H, W) -> (N, C, H', W')."""
        size = (out or own for out, own in zip(self.output_size, _image(x)))
        return apply(resample.Resample(resample.adaptive, tuple((n,) for n in size)), x)

    def extra_repr(self) -> str:
        """The arguments."""
        return f"output_size={self.output_size}"


class Upsample(Module):
    """The image at another size, (N, C, H, W) -> (N, C, H', W'), larger or smaller.

    `size` is H' x W', or `scale_factor` gives H' = floor(H scale). mode "nearest": y[i] = x[floor(i H / H')]. "bilinear": the
    mean of the two pixels around (i + 1/2) H / H' - 1/2 along each axis, weighted by nearness; with align_corners around
    i (H - 1) / (H' - 1). A scale that was given stands for H' / H, as in PyTorch. ValueError for other arguments."""

    def __init__(self, size: Size | None = None, scale_factor: float | Sequence[float] | None = None, mode: str = "nearest",
                 align_corners: bool | None = None) -> None:
        super().__init__()
        if (size is None) == (scale_factor is None):
            raise ValueError(f"Upsample: expected size or scale_factor, got {'neither' if size is None else 'both'}")
        if mode not in ("nearest", "bilinear"):
            raise ValueError(f"Upsample: expected mode 'nearest' or 'bilinear', got {mode!r}")
        if mode == "nearest" and align_corners is not None:
            raise ValueError("Upsample: expected align_corners with mode 'bilinear', got it with 'nearest'")
        self.size = None if size is None else pair(size, "size", 1)
        self.mode, self.align_corners = mode, align_corners
        self.scale_factor: tuple[float, ...] | None = None
        if scale_factor is not None:
            two = tuple(scale_factor) if isinstance(scale_factor, (tuple, list)) else (scale_factor,) * 2
            if len(two) != 2 or not all(isinstance(v, (int, float, np.number)) and 0 < v < math.inf for v in two):
                raise ValueError(f"scale_factor: expected a number above 0, or two, got {scale_factor!r}")
            self.scale_factor = tuple(float(v) for v in two)

    def forward(self, x: Value) -> Value:
        """(N, C, H, W) -> (N, C, H', W')."""
        image = _image(x)
        scales: tuple[Any, ...] = self.scale_factor or (None, None)
        size: tuple[int, ...] = self.size or tuple(math.floor(n * s) for n, s in zip(image, scales))
        if min(size) < 1:
            raise ShapeError(f"expected an image that leaves at least one pixel, got {size[0]}x{size[1]} of "
                             f"{image[0]}x{image[1]} at scale {scales}")
        if self.mode == "nearest":
            return apply(resample.Resample(resample.nearest, tuple(zip(size, scales))), x)
        corners = bool(self.align_corners)
        return apply(resample.Resample(resample.linear, tuple((n, s, corners) for n, s in zip(size, scales))), x)

    def extra_repr(self) -> str:
        """The arguments."""
        which = f"size={self.size}" if self.size else f"scale_factor={self.scale_factor}"
        return f"{which}, mode={self.mode!r}" + (f", align_corners={self.align_corners}" if self.mode == "bilinear" else "")
