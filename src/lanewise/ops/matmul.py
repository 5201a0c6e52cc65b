"""Matrix products, batched, and linear layers."""
from __future__ import annotations

from typing import TYPE_CHECKING

from .._kernels import calls
from .._kernels.calls import arrays, shape
from ..errors import ShapeError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from .._types import Array, Shape


def matmul(a: ArrayLike, b: ArrayLike, *, out: Array | None = None) -> Array:
    """numpy.matmul: (..., M, K) x (..., K, N) -> (..., M, N), batch dimensions broadcast; a 1-D a is a row, a 1-D b a column,
    and that dimension falls away. Operands are read as they lie (transposed views are not copied).

    Many small products (two or more of at most calls.SMALL multiply-adds) run on our tiles, few large ones on NumPy's BLAS."""
    return calls.matmul(a, b, out)


def _summed(x: Array, like: Shape) -> Array:
    """x summed over the dimensions that broadcasting gave it."""
    if x.shape == like:
        return x
    x = x.sum(tuple(range(x.ndim - len(like))))
    wide = tuple(i for i, (s, d) in enumerate(zip(x.shape, like)) if d == 1 and s != 1)
    return x.sum(wide, keepdims=True) if wide else x


def matmul_backward(dy: ArrayLike, a: ArrayLike, b: ArrayLike) -> tuple[Array, Array]:
    """(da, db): da = dy b^T and db = a^T dy, summed over what was broadcast, each in the shape of its operand."""
    dy, a, b = arrays("matmul_backward", dy=dy, a=a, b=b)
    if a.ndim == 0 or b.ndim == 0:
        raise ShapeError(f"matmul_backward: expected arrays of at least one dimension, got shapes {a.shape} and {b.shape}")
    a2, b2 = a[None] if a.ndim == 1 else a, b[:, None] if b.ndim == 1 else b
    batch = calls.batch(a2, b2)
    if batch is None or b2.shape[-2] != a2.shape[-1]:
        raise ShapeError(f"matmul_backward: expected (..., M, K) and (..., K, N) whose batches broadcast, got {a.shape} "
                         f"and {b.shape}")
    rows, columns = () if a.ndim == 1 else (a2.shape[-2],), () if b.ndim == 1 else (b2.shape[-1],)
    shape("matmul_backward", "dy", dy, (*batch, *rows, *columns))
    g = dy.reshape(*batch, a2.shape[-2], b2.shape[-1])
    return (_summed(matmul(g, b2.swapaxes(-1, -2)), a2.shape).reshape(a.shape),
            _summed(matmul(a2.swapaxes(-1, -2), g), b2.shape).reshape(b.shape))


def linear(x: ArrayLike, weight: ArrayLike, bias: ArrayLike | None = None, *, out: Array | None = None) -> Array:
    """y = x weight^T + bias: (..., I), (O, I) and (O,) -> (..., O). NumPy's BLAS."""
    return calls.linear(x, weight, bias, out)


def linear_backward(dy: ArrayLike, x: ArrayLike, weight: ArrayLike) -> tuple[Array, Array, Array]:
    """(dx, dweight, dbias): dx = dy weight, dweight = sum dy^T x, dbias = sum dy."""
    return calls.linear_backward(dy, x, weight)
