"""Arithmetic on traced values, NumPy's rules and PyTorch's names: `+ - * / @ **`, functions, reductions, views.

Operands are Values, arrays (N, ...), numbers, and Parameters, which broadcast over the batch; per-sample shapes broadcast, and
a gradient is summed over what was broadcast. No operation but a whole `sum()` or `mean()` looks across samples."""
from __future__ import annotations

import math
from typing import TYPE_CHECKING, overload

import numpy as np

from . import graph
from .errors import ShapeError
from .loss import Loss
from .nodes import dense, elementwise, matmul as products, move, reduce
from .nodes.reshape import Reshape
from .nodes.total import Total
from .parameter import Parameter

if TYPE_CHECKING:
    from typing_extensions import TypeGuard
    from collections.abc import Iterable, Sequence
    from typing import Any

    from ._types import Operand, Shape
    from .graph import Value


def is_number(x: Any) -> TypeGuard[float]:
    """Whether x is a Python or NumPy number, and no bool."""
    return isinstance(x, (int, float, np.integer, np.floating)) and not isinstance(x, bool)


def _shape(shape: Shape) -> str:
    return f"(N, {', '.join(map(str, shape))})"


def _pair(what: str, a: Any, b: Any) -> Any:
    """Two operands as Values whose per-sample shapes may be broadcast."""
    values = []
    for x, other in (a, b), (b, a):
        # a Parameter (1, C, 1, 1) written for values (N, C, H, W)
        rank = other.ndim if isinstance(other, graph.Value) and other.n is not None else None
        values.append(graph.constant(x, x.shape[1:]) if isinstance(x, Parameter) and len(x.shape) == rank and x.shape[0] == 1
                      else graph.as_value(x))
    a, b = values
    if a.n is not None and b.n is not None and a.ndim != b.ndim:
        raise ShapeError(f"{what}: expected two values of as many dimensions, got {_shape(a.node.shape)} and "
                         f"{_shape(b.node.shape)}")
    return values


def _unary(name: str, x: Operand, alpha: float = 0.0, beta: float = 0.0) -> Value:
    return graph.apply(elementwise.Unary(name, float(alpha), float(beta)), x)


def add(a: Operand, b: Operand) -> Value:
    """a + b."""
    if is_number(b):
        return graph.apply(elementwise.Affine(1.0, float(b)), a)
    return graph.apply(elementwise.Add(), *_pair("+", a, b))


def subtract(a: Operand, b: Operand) -> Value:
    """a - b."""
    if is_number(b):
        return graph.apply(elementwise.Affine(1.0, -float(b)), a)
    if is_number(a):
        return graph.apply(elementwise.Affine(-1.0, float(a)), b)
    return graph.apply(elementwise.Subtract(), *_pair("-", a, b))


def multiply(a: Operand, b: Operand) -> Value:
    """a * b."""
    if is_number(b):
        return graph.apply(elementwise.Affine(float(b), 0.0), a)
    return graph.apply(elementwise.Multiply(), *_pair("*", a, b))


def divide(a: Operand, b: Operand) -> Value:
    """a / b; what a division by 0 gives in floating point."""
    if is_number(b):
        return multiply(a, 1.0 / b)
    if is_number(a):
        return multiply(power(b, -1), a)
    return graph.apply(elementwise.Divide(), *_pair("/", a, b))


def power(x: Operand, exponent: float) -> Value:
    """x ** exponent, a number; gradient exponent x^(exponent - 1). Below 0 a whole exponent only, others give NaN."""
    if not is_number(exponent):
        raise TypeError(f"**: expected a number as the exponent, got {type(exponent).__name__}")
    if exponent == 2:
        return _unary("square", x)
    return _unary("power", x, exponent)


def negative(x: Operand) -> Value:
    """-x."""
    return multiply(x, -1)


def relu(x: Operand) -> Value:
    """max(x, 0): NaN passes; the gradient at 0 is 0."""
    return graph.apply(elementwise.ReLU(), x)


def exp(x: Operand) -> Value:
    """e^x."""
    return _unary("exp", x)


def log(x: Operand) -> Value:
    """The natural logarithm: -inf at 0, NaN below."""
    return _unary("log", x)


def sqrt(x: Operand) -> Value:
    """The square root: NaN below 0, and an infinite gradient at 0."""
    return _unary("sqrt", x)


def abs(x: Operand) -> Value:  # the name that users look for
    """|x|; the gradient at 0 is 0."""
    return _unary("abs", x)


def matmul(a: Operand, b: Operand) -> Value:
    """a @ b of per-sample matrices, (N, ..., T, F) @ (N, ..., F, G) -> (N, ..., T, G).

    A Parameter (F, G) is one matrix for all samples; with it also (N, F) @ (F, G) -> (N, G). ShapeError for other shapes."""
    if isinstance(b, Parameter) and len(b.shape) == 2:
        left = graph.as_value(a)
        if len(left.node.shape) in (1, 2):
            return graph.apply(dense.Linear(b, None, transposed=True), left)
    a, b = graph.as_value(a), graph.as_value(b)
    for one, other in (a, b), (b, a):
        if one.n is None and len(other.node.shape) > len(one.node.shape) >= 2:
            to = other.node.shape[:-2] + one.node.shape[-2:]
            a, b = (graph.apply(move.Expand(to), v) if v is one else v for v in (a, b))
    return graph.apply(products.MatMul(), a, b)


def _dims(what: str, x: Value, dim: Any) -> Shape:
    """Per-sample dimensions from one of torch's, or several."""
    lead, out = int(x.n is not None), []
    for d in dim if isinstance(dim, (tuple, list)) else (dim,):
        if not isinstance(d, (int, np.integer)) or not -x.ndim <= d < x.ndim or (lead and d % x.ndim == 0):
            raise ShapeError(f"{what}: expected dimensions other than the batch, from {lead} to {x.ndim - 1}, got {dim}")
        out.append(int(d) % x.ndim - lead)
    if len(set(out)) < len(out):
        raise ShapeError(f"{what}: expected each dimension once, got {dim}")
    return tuple(sorted(out))


def _which(what: str, dim: Any, axis: Any) -> Any:
    if dim is not None and axis is not None:
        raise TypeError(f"{what}: expected dim= or axis=, got both")
    return axis if dim is None else dim


def _total(x: Value, mean: bool) -> Loss:
    shape = x.node.shape
    every = graph.apply(reduce.Sum(tuple(range(len(shape))), False, 1 / math.prod(shape) if mean else 1.0), x)
    # a parameter's value is that of every sample: its mean over the batch
    return Loss([(1.0, Total("mean" if mean or x.n is None else "sum"), every, ())])


@overload
def sum(x: Operand, dim: None = None, keepdim: bool = False, *, axis: None = None) -> Loss: ...
@overload
def sum(x: Operand, dim: int | Sequence[int] | None = None, keepdim: bool = False, *,
        axis: int | Sequence[int] | None = None) -> Value: ...
def sum(x: Operand, dim: int | Sequence[int] | None = None, keepdim: bool = False, *,
        axis: int | Sequence[int] | None = None) -> Value | Loss:
    """The sum over per-sample dimensions `dim` (axis: the same), which stay as 1 with keepdim.

    Without dim, the sum over everything and the batch: a Loss, for backward()."""
    x, dim = graph.as_value(x), _which("sum", dim, axis)
    return _total(x, False) if dim is None else graph.apply(reduce.Sum(_dims("sum", x, dim), bool(keepdim), 1.0), x)


@overload
def mean(x: Operand, dim: None = None, keepdim: bool = False, *, axis: None = None) -> Loss: ...
@overload
def mean(x: Operand, dim: int | Sequence[int] | None = None, keepdim: bool = False, *,
         axis: int | Sequence[int] | None = None) -> Value: ...
def mean(x: Operand, dim: int | Sequence[int] | None = None, keepdim: bool = False, *,
         axis: int | Sequence[int] | None = None) -> Value | Loss:
    """The mean over per-sample dimensions `dim` (axis: the same), which stay as 1 with keepdim.

    Without dim, the mean over everything and the batch: a Loss, for backward()."""
    x, dim = graph.as_value(x), _which("mean", dim, axis)
    if dim is None:
        return _total(x, True)
    dims = _dims("mean", x, dim)
    return graph.apply(reduce.Sum(dims, bool(keepdim), 1 / math.prod(x.node.shape[d] for d in dims)), x)


def max(x: Operand, dim: int | Sequence[int] | None = None, keepdim: bool = False, *,
        axis: int | Sequence[int] | None = None) -> Value:
    """The greatest along per-sample dimensions `dim` (axis: the same), which stay as 1 with keepdim.

    NaN wins; the gradient goes to the first of equal winners. ShapeError without dim: no operation looks across samples."""
    x = graph.as_value(x)
    for d in reversed(_dims("max", x, _which("max", dim, axis))):
        x = graph.apply(reduce.Greatest(d, bool(keepdim)), x)
    return x


def min(x: Operand, dim: int | Sequence[int] | None = None, keepdim: bool = False, *,
        axis: int | Sequence[int] | None = None) -> Value:
    """The least along per-sample dimensions: -max(-x)."""
    return negative(max(negative(x), dim, keepdim, axis=axis))


def permute(x: Operand, *dims: Any) -> Value:
    """Dimensions in another order; the batch stays first."""
    x = graph.as_value(x)
    dims = tuple(dims[0]) if len(dims) == 1 and isinstance(dims[0], (tuple, list)) else dims
    lead = int(x.n is not None)
    turned = tuple(d % x.ndim - lead for d in dims)
    if sorted(turned) != [d - lead for d in range(x.ndim)] or (lead and turned[0] != -1):
        raise ShapeError(f"permute: expected each of 0 to {x.ndim - 1} once, the batch first, got {dims}")
    turned = turned[lead:]
    return x if turned == tuple(range(len(turned))) else graph.apply(move.Permute(turned), x)


def transpose(x: Operand, dim0: int, dim1: int) -> Value:
    """Two dimensions exchanged, neither the batch."""
    x = graph.as_value(x)
    lead, order = int(x.n is not None), list(range(x.ndim))
    a, b = (_dims("transpose", x, d)[0] + lead for d in (dim0, dim1))
    order[a], order[b] = order[b], order[a]
    return permute(x, order)


def stack(values: Iterable[Operand], dim: int = 1) -> Value:
    """Values of one shape side by side along a new dimension, not the batch (torch.stack, but for its default of 0)."""
    found = [graph.as_value(v) for v in values]
    if not found:
        raise ShapeError("stack: expected at least one value, got none")
    rank = found[0].ndim + 1
    if not -rank <= dim < rank or dim % rank == 0:
        raise ShapeError(f"stack: expected dim other than the batch, from 1 to {rank - 1}, got {dim}")
    at = dim % rank - 1
    rows = [graph.apply(Reshape((*v.node.shape[:at], 1, *v.node.shape[at:])), v) for v in found]
    return graph.concat(rows, at + 1)


def pad(x: Operand, pad: Sequence[int], value: float = 0.0) -> Value:
    """`value` around x: (before, after) of the last dimension, then of the one before it, ...; none for the batch."""
    x, rank = graph.as_value(x), len(graph.as_value(x).node.shape)
    if len(pad) % 2 or len(pad) > 2 * rank or not all(isinstance(p, (int, np.integer)) and p >= 0 for p in pad):
        raise ShapeError(f"pad: expected up to {rank} pairs of numbers of 0 or more, the last dimension's first, got {pad}")
    before, after = ((0,) * (rank - len(pad) // 2) + tuple(int(p) for p in reversed(pad[first::2])) for first in (0, 1))
    return graph.apply(move.Pad(before, after, float(value)), x)


def index(x: Operand, key: Any) -> Value:
    """x[:, ...]: integers and slices (steps of 1 or more) of per-sample dimensions; the batch's index is `:`."""
    x = graph.as_value(x)
    rank = len(x.node.shape)
    key = key if isinstance(key, tuple) else (key,)
    if any(k is Ellipsis for k in key):
        at = next(i for i, k in enumerate(key) if k is Ellipsis)
        key = key[:at] + (slice(None),) * (rank + 2 - len(key)) + key[at + 1:]
    if not key or key[0] != slice(None):
        raise ShapeError(f"expected ':' as a value's first index, for the whole batch, got {key[0] if key else key!r}")
    if len(key) > rank + 1 or any(not isinstance(k, (int, np.integer, slice)) for k in key):
        raise ShapeError(f"expected up to {rank + 1} integers and slices as indices of {x.shape}, got {key}")
    starts: list[int] = []
    steps: list[int] = []
    sizes: list[int | None] = []
    for d, k in zip(x.node.shape, key[1:] + (slice(None),) * (rank + 1 - len(key))):
        if isinstance(k, slice):
            first, last, step = k.indices(d)
            if step < 1 or last <= first:
                raise ShapeError(f"expected a slice of one number or more and a step of 1 or more, got {k} of {d}")
            starts, steps, sizes = starts + [first], steps + [step], sizes + [len(range(first, last, step))]
        elif not -d <= k < d:
            raise ShapeError(f"expected an index from {-d} to {d - 1}, got {k}")
        else:
            starts, steps, sizes = starts + [int(k) % d], steps + [1], sizes + [None]
    return graph.apply(move.Slice(tuple(starts), tuple(steps), tuple(sizes)), x)
