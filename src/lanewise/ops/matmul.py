"""Matrix products, batched, and linear layers."""
import math

import numpy as np

from .._kernels.calls import Result, arrays, crew, kernels, shape
from ..errors import ShapeError

SMALL = 512 ** 3        # M K N of an item up to which two items or more run on our tiles, an item on one thread: against one
                        # thread of NumPy's OpenBLAS they take 1.3 of its time at 64, 0.9 from 96 to 512 (float32, AVX-512),
                        # and two threads halve it, where BLAS starts its threads anew for every item


def _batch(a, b):
    """The broadcast batch dimensions, None where they do not broadcast."""
    if a.shape[:-2] == b.shape[:-2]:
        return a.shape[:-2]
    try:
        return np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    except ValueError:
        return None


def _steps(x, batch):
    """The strides of x along the broadcast batch and its two own dimensions, in numbers."""
    own = tuple(0 if d == 1 else s // x.itemsize for d, s in zip(x.shape[:-2], x.strides))
    return (0,) * (len(batch) - len(own)) + own, x.strides[-2] // x.itemsize, x.strides[-1] // x.itemsize


def _regular(x):
    """Whether the strides of x are whole numbers of items."""
    return x.flags.aligned and not any(s % x.itemsize for s in x.strides)


def matmul(a, b, *, out=None):
    """numpy.matmul: (..., M, K) x (..., K, N) -> (..., M, N), batch dimensions broadcast; a 1-D a is a row, a 1-D b a column,
    and that dimension falls away. Operands are read as they lie (transposed views are not copied).

    Many small products (two or more of at most SMALL multiply-adds) run on our tiles, few large ones on NumPy's BLAS."""
    a, b = arrays("matmul", a=a, b=b)
    if a.ndim == 0 or b.ndim == 0:
        raise ShapeError(f"matmul: expected arrays of at least one dimension, got shapes {a.shape} and {b.shape}")
    row, column = a.ndim == 1, b.ndim == 1
    a2, b2 = a[None] if row else a, b[:, None] if column else b
    m, k, n = *a2.shape[-2:], b2.shape[-1]
    batch = _batch(a2, b2)
    if b2.shape[-2] != k or batch is None:
        raise ShapeError(f"matmul: expected (..., M, K) and (..., K, N) whose batches broadcast, got {a.shape} and {b.shape}")
    items, full = math.prod(batch), (*batch, m, n)
    shown = tuple(d for d, gone in zip(full, (*(False for _ in batch), row, column)) if not gone)
    y = Result("matmul", out, shown, a, (a, b))
    if items < 2 or m * k * n > SMALL or not (_regular(a2) and _regular(b2)) or not m * k * n:
        np.matmul(a2, b2, out=y.array.reshape(full))
    else:
        kernels(a).matmul(a2, b2, y.array, batch, m, n, k, _steps(a2, batch), _steps(b2, batch),
                          crew(items * (m * k * n // 16 + m * n // 4 + 4)))
    return y.done()


def _summed(x, like):
    """x summed over the dimensions that broadcasting gave it."""
    if x.shape == like:
        return x
    x = x.sum(tuple(range(x.ndim - len(like))))
    wide = tuple(i for i, (s, d) in enumerate(zip(x.shape, like)) if d == 1 and s != 1)
    return x.sum(wide, keepdims=True) if wide else x


def matmul_backward(dy, a, b):
    """(da, db): da = dy b^T and db = a^T dy, summed over what was broadcast, each in the shape of its operand."""
    dy, a, b = arrays("matmul_backward", dy=dy, a=a, b=b)
    if a.ndim == 0 or b.ndim == 0:
        raise ShapeError(f"matmul_backward: expected arrays of at least one dimension, got shapes {a.shape} and {b.shape}")
    a2, b2 = a[None] if a.ndim == 1 else a, b[:, None] if b.ndim == 1 else b
    batch = _batch(a2, b2)
    if batch is None or b2.shape[-2] != a2.shape[-1]:
        raise ShapeError(f"matmul_backward: expected (..., M, K) and (..., K, N) whose batches broadcast, got {a.shape} "
                         f"and {b.shape}")
    rows, columns = () if a.ndim == 1 else (a2.shape[-2],), () if b.ndim == 1 else (b2.shape[-1],)
    shape("matmul_backward", "dy", dy, (*batch, *rows, *columns))
    g = dy.reshape(*batch, a2.shape[-2], b2.shape[-1])
    return (_summed(matmul(g, b2.swapaxes(-1, -2)), a2.shape).reshape(a.shape),
            _summed(matmul(a2.swapaxes(-1, -2), g), b2.shape).reshape(b.shape))


def linear(x, weight, bias=None, *, out=None):
    """y = x weight^T + bias: (..., I), (O, I) and (O,) -> (..., O). NumPy's BLAS."""
    x, weight, bias = arrays("linear", x=x, weight=weight, bias=bias)
    _check_linear("linear", x, weight)
    shape("linear", "bias", bias, weight.shape[:1])
    y = Result("linear", out, (*x.shape[:-1], weight.shape[0]), x, (x, weight, bias))
    rows = y.array.reshape(math.prod(x.shape[:-1]), weight.shape[0])
    np.matmul(x.reshape(len(rows), x.shape[-1]), weight.T, out=rows)
    if bias is not None:
        rows += bias
    return y.done()


def _check_linear(name, x, weight):
    if weight.ndim != 2 or x.ndim == 0 or x.shape[-1] != weight.shape[1]:
        raise ShapeError(f"{name}: expected x (..., I) and weight (O, I), got {x.shape} and {weight.shape}")


def linear_backward(dy, x, weight):
    """(dx, dweight, dbias): dx = dy weight, dweight = sum dy^T x, dbias = sum dy."""
    dy, x, weight = arrays("linear_backward", dy=dy, x=x, weight=weight)
    _check_linear("linear_backward", x, weight)
    shape("linear_backward", "dy", dy, (*x.shape[:-1], weight.shape[0]))
    rows = math.prod(x.shape[:-1])
    g, x2 = dy.reshape(rows, weight.shape[0]), x.reshape(rows, x.shape[-1])
    return (g @ weight).reshape(x.shape), g.T @ x2, g.sum(0)
