"""Batch and layer normalisation, and their gradients. Statistics are summed in float64 over samples."""
from __future__ import annotations

from typing import TYPE_CHECKING

from .._kernels import calls

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from .._types import Array, Size


def batch_norm(x: ArrayLike, running_mean: Array | None, running_var: Array | None, weight: ArrayLike | None = None,
               bias: ArrayLike | None = None, training: bool = False, momentum: float = 0.1, eps: float = 1e-5, *,
               out: Array | None = None) -> Array:
    """y = (x - mean) / sqrt(var + eps) * weight + bias per channel: (N, C, ...) and (C,) -> (N, C, ...).

    In training mean and (biased) var are those of x, and running = (1 - momentum) running + momentum * (mean, unbiased var)
    is written into running_mean and running_var where given; otherwise they are used."""
    return calls.batch_norm(x, running_mean, running_var, weight, bias, training, momentum, eps, out)


def batch_norm_backward(dy: ArrayLike, x: ArrayLike, running_mean: Array | None, running_var: Array | None,
                        weight: ArrayLike | None = None, training: bool = False,
                        eps: float = 1e-5) -> tuple[Array, Array, Array]:
    """(dx, dweight, dbias) of batch_norm; xhat = (x - mean) / sqrt(var + eps), recomputed.

    dbias = sum dy, dweight = sum dy xhat, dx = weight / sqrt(var + eps) * (dy - (dbias + xhat dweight) / count) in
    training, without the bracket's second term otherwise."""
    return calls.batch_norm_backward(dy, x, running_mean, running_var, weight, training, eps)


def layer_norm(x: ArrayLike, normalized_shape: Size, weight: ArrayLike | None = None, bias: ArrayLike | None = None,
               eps: float = 1e-5, *, out: Array | None = None) -> Array:
    """y = (x - mean) / sqrt(var + eps) * weight + bias over the last dimensions, which are normalized_shape, as are weight
    and bias; var is biased."""
    return calls.layer_norm(x, normalized_shape, weight, bias, eps, out)


def layer_norm_backward(dy: ArrayLike, x: ArrayLike, normalized_shape: Size, weight: ArrayLike | None = None,
                        eps: float = 1e-5) -> tuple[Array, Array, Array]:
    """(dx, dweight, dbias) of layer_norm; with g = dy weight, dx = (g - mean g - xhat mean(g xhat)) / sqrt(var + eps)."""
    return calls.layer_norm_backward(dy, x, normalized_shape, weight, eps)
