"""Pooling of images (N, C, H, W) or (C, H, W), and the gradients."""
from __future__ import annotations

from typing import TYPE_CHECKING, overload

from .._kernels import calls

if TYPE_CHECKING:
    from typing import Literal

    from collections.abc import Sequence

    from numpy.typing import ArrayLike

    from .._types import Array, Shape, Size


@overload
def max_pool2d(x: ArrayLike, kernel_size: Size, stride: Size | None = None, padding: Size = 0, dilation: Size = 1,
               ceil_mode: bool = False, return_indices: Literal[False] = False, *, out: Array | None = None) -> Array: ...
@overload
def max_pool2d(x: ArrayLike, kernel_size: Size, stride: Size | None = None, padding: Size = 0, dilation: Size = 1,
               ceil_mode: bool = False, *, return_indices: Literal[True],
               out: Array | None = None) -> tuple[Array, Array]: ...
@overload
def max_pool2d(x: ArrayLike, kernel_size: Size, stride: Size | None = None, padding: Size = 0, dilation: Size = 1,
               ceil_mode: bool = False, return_indices: bool = False, *,
               out: Array | None = None) -> Array | tuple[Array, Array]: ...
def max_pool2d(x: ArrayLike, kernel_size: Size, stride: Size | None = None, padding: Size = 0, dilation: Size = 1,
               ceil_mode: bool = False, return_indices: bool = False, *,
               out: Array | None = None) -> Array | tuple[Array, Array]:
    """The greatest of each window: (N, C, H, W) -> (N, C, H', W').

    H' = floor((H + 2 padding - dilation (kernel - 1) - 1) / stride) + 1 (or ceil); stride None is the kernel's size; int or
    pair everywhere. Padding never wins; the first of equals does; NaN does. return_indices: also the int64
    h W + w of each winner."""
    return calls.max_pool2d(x, kernel_size, stride, padding, dilation, ceil_mode, return_indices, out)


def max_pool2d_backward(dy: ArrayLike, indices: Array, input_shape: Shape) -> Array:
    """dx of input_shape: each dy (N, C, H', W') added at its winner, the h W + w that max_pool2d returned."""
    return calls.max_pool2d_backward(dy, indices, input_shape)


def avg_pool2d(x: ArrayLike, kernel_size: Size, stride: Size | None = None, padding: Size = 0, ceil_mode: bool = False,
               count_include_pad: bool = True, divisor_override: int | None = None, *, out: Array | None = None) -> Array:
    """The mean of each window: (N, C, H, W) -> (N, C, H', W'), H' as in max_pool2d without dilation.

    Padding is zeros, and counts in the divisor with count_include_pad; what ceil_mode reads beyond the padding never does;
    divisor_override divides every sum instead."""
    return calls.avg_pool2d(x, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override, out)


def avg_pool2d_backward(dy: ArrayLike, input_shape: Shape, kernel_size: Size, stride: Size | None = None, padding: Size = 0,
                        ceil_mode: bool = False, count_include_pad: bool = True, divisor_override: int | None = None) -> Array:
    """dx of input_shape: every cell of a window gets dy over the window's divisor."""
    return calls.avg_pool2d_backward(dy, input_shape, kernel_size, stride, padding, ceil_mode, count_include_pad,
                                     divisor_override)


def adaptive_avg_pool2d(x: ArrayLike, output_size: int | Sequence[int | None] | None, *, out: Array | None = None) -> Array:
    """The mean of H' x W' windows that cover the image: row o is the rows floor(o H / H') to ceil((o + 1) H / H').
    output_size: int or pair, None keeps that size."""
    return calls.adaptive_avg_pool2d(x, output_size, out)


def adaptive_avg_pool2d_backward(dy: ArrayLike, input_shape: Shape) -> Array:
    """dx of input_shape: every cell of a window gets dy over the window's size."""
    return calls.adaptive_avg_pool2d_backward(dy, input_shape)
