"""im2col and col2im: windows of images as the columns of a matrix."""
from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .._kernels.calls import Geometry, Result, arrays, image, ndim, packed, pair
from ..errors import ShapeError

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import ArrayLike

    from .._types import Array, Size


def _geometry(name: str, size: Any, kernel_size: Size, stride: Size, padding: Size, dilation: Size) -> Any:
    return Geometry(name, size, pair(name, "kernel_size", kernel_size), pair(name, "stride", stride),
                    pair(name, "padding", padding, 0), pair(name, "dilation", dilation))


def im2col(x: ArrayLike, kernel_size: Size, stride: Size = 1, padding: Size = 0, dilation: Size = 1, *,
           out: Array | None = None) -> Array:
    """torch's unfold: (N, C, H, W) -> (N, C*KH*KW, L), L = H' W' windows as columns, zeros for padding. Its backward is
    col2im."""
    x, alone = image("im2col", "x", arrays("im2col", x=x))
    g = _geometry("im2col", x.shape[2:], kernel_size, stride, padding, dilation)
    x, full = packed(x), (x.shape[0], x.shape[1] * g.taps, g.pixels)
    cols = Result("im2col", out, full[1:] if alone else full, x, (x,))
    g.move(x, cols.array)
    return cols.done()


def col2im(cols: ArrayLike, output_size: Size, kernel_size: Size, stride: Size = 1, padding: Size = 0, dilation: Size = 1, *,
           out: Array | None = None) -> Array:
    """torch's fold: (N, C*KH*KW, L) -> (N, C, *output_size), where windows overlap the sum. Its backward is im2col."""
    cols = arrays("col2im", cols=cols)
    alone = cols.ndim == 2
    cols = cols[None] if alone else cols
    ndim("col2im", "cols", cols, 3, "N, C*KH*KW, L")
    g = _geometry("col2im", pair("col2im", "output_size", output_size), kernel_size, stride, padding, dilation)
    if cols.shape[1] % g.taps or cols.shape[2] != g.pixels:
        raise ShapeError(f"col2im: expected cols (N, a multiple of {g.taps}, {g.pixels}), got {cols.shape}")
    full = (cols.shape[0], cols.shape[1] // g.taps, *g.size)
    cols = packed(cols)
    x = Result("col2im", out, full[1:] if alone else full, cols, (cols,))
    g.move(x.array.reshape(full), cols, True)
    return x.done()


def im2col_backward(dcols: ArrayLike, input_size: Size, kernel_size: Size, stride: Size = 1, padding: Size = 0,
                    dilation: Size = 1) -> Array:
    """dx of im2col, (N, C, *input_size): col2im of the gradient."""
    return col2im(dcols, input_size, kernel_size, stride, padding, dilation)


def col2im_backward(dx: ArrayLike, kernel_size: Size, stride: Size = 1, padding: Size = 0, dilation: Size = 1) -> Array:
    """dcols of col2im: im2col of the gradient."""
    return im2col(dx, kernel_size, stride, padding, dilation)


def groups_of(name: str, groups: Any, *sizes: Any) -> int:
    """ShapeError unless groups divides all of them."""
    if isinstance(groups, bool) or not isinstance(groups, (int, np.integer)) or groups < 1 or any(s % groups for s in sizes):
        raise ShapeError(f"{name}: expected groups to divide the channels {' and '.join(map(str, sizes))}, got {groups!r}")
    return int(groups)


