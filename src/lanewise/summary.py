"""A table of a network's layers, and the arithmetic of convolutions that it rests on."""
from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple, overload

import numpy as np

from .graph import Value, as_value, between, topological
from .nn import module as modules
from .nodes.constant import Constant
from .nodes.conv import Conv2d
from .nodes.conv_transpose import ConvTranspose2d
from .nodes.dense import Linear
from .nodes.embedding import Embedding
from .nodes.layer_norm import LayerNorm
from .nodes.matmul import MatMul
from .nodes.pool import Pool2d
from .nodes.resample import Resample

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from numpy.typing import DTypeLike

    from ._types import Shape, Size
    from .graph import Node
    from .nn.module import Module


def _inverse(s: int) -> Any:
    from fractions import Fraction              # it brings decimal along
    return Fraction(1, s)


# Multiply-adds a sample of an operation with the input shape x and the output shape y; what is not here counts none, and an
# operation with a matrix of weights must be here.
MULTIPLY_ADDS = {Conv2d: lambda op, x, y: op.weight.data.size * y[1] * y[2], Constant: lambda op, x, y: 0,
                 Linear: lambda op, x, y: op.weight.data.size * math.prod(y[:-1]),
                 ConvTranspose2d: lambda op, x, y: op.weight.data.size * x[1] * x[2], LayerNorm: lambda op, x, y: 0,
                 Embedding: lambda op, x, y: 0}
# ((KH, KW), (SH, SW)) of an operation that looks at windows of an input of shape x, with K counting dilation: the largest
# window, and the mean distance of two, a Fraction below 1 where the image grows.
WINDOWS = {Conv2d: lambda op, x: (tuple(d * (k - 1) + 1 for d, k in zip(op.dilation, op.weight.shape[2:])), op.stride),
           ConvTranspose2d: lambda op, x: (tuple(d * (k - 1) // s + 1 for d, k, s in zip(
               op.dilation, op.weight.shape[2:], op.stride)), tuple(map(_inverse, op.stride))),
           Pool2d: lambda op, x: (op.kernel, op.stride), Resample: lambda op, x: op.window(x)}


def _each(owner: str, least: dict[str, int], **values: Any) -> int:
    # ints, or pairs of them; the pairs' length, 0 for none
    lengths = {len(v) for v in values.values() if isinstance(v, (tuple, list))}
    if len(lengths) > 1:
        raise ValueError(f"{owner}: expected numbers or tuples of one length, got {values}")
    for name, value in values.items():
        for v in value if isinstance(value, (tuple, list)) else (value,):
            if isinstance(v, bool) or not isinstance(v, (int, np.integer)) or v < least[name]:
                raise ValueError(f"{owner}: expected {name} of {least[name]} or more, got {value!r}")
    return lengths.pop() if lengths else 0


@overload
def conv_output_size(  # type: ignore[overload-overlap]
    n: int, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> int: ...
@overload
def conv_output_size(n: Size, kernel: Size, stride: Size = 1, padding: Size = 0, dilation: Size = 1) -> Shape: ...
def conv_output_size(n: Any, kernel: Any, stride: Any = 1, padding: Any = 0, dilation: Any = 1) -> Any:
    """floor((n + 2 padding - dilation (kernel - 1) - 1) / stride) + 1 pixels of a convolution or a pooling; an int, or a tuple
    where one of the arguments is one. ValueError where the kernel does not fit."""
    args = dict(n=n, kernel=kernel, stride=stride, padding=padding, dilation=dilation)
    axes = _each("conv_output_size", dict(n=1, kernel=1, stride=1, padding=0, dilation=1), **args)
    if axes:
        return tuple(conv_output_size(*(v[a] if isinstance(v, (tuple, list)) else v for v in args.values()))
                     for a in range(axes))
    out = (n + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
    if out < 1:
        raise ValueError(f"conv_output_size: expected at least {dilation * (kernel - 1) + 1} pixels with padding, got "
                         f"{n + 2 * padding}")
    return out


@overload
def same_padding(kernel: int, dilation: int = 1) -> int: ...  # type: ignore[overload-overlap]
@overload
def same_padding(kernel: Size, dilation: Size = 1) -> Shape: ...
def same_padding(kernel: Any, dilation: Any = 1) -> Any:
    """dilation (kernel - 1) / 2: the padding that keeps the size with stride 1; an int, or a tuple of a tuple.

    ValueError where it is not whole, for an even kernel: nn.Conv2d(padding="same") pads one side more there."""
    axes = _each("same_padding", dict(kernel=1, dilation=1), kernel=kernel, dilation=dilation)
    if axes:
        return tuple(same_padding(*(v[a] if isinstance(v, (tuple, list)) else v for v in (kernel, dilation)))
                     for a in range(axes))
    if dilation * (kernel - 1) % 2:
        raise ValueError(f"same_padding: expected an odd kernel (or an even dilation), got kernel {kernel} and "
                         f"dilation {dilation}")
    return dilation * (kernel - 1) // 2


def receptive_field(layers: Iterable[tuple[int, int]]) -> int:
    """RF = 1 + sum_l (k_l - 1) prod_(i < l) s_i pixels, of layers [(kernel, stride), ...] from the input on.

    A dilated kernel counts as dilation (kernel - 1) + 1. No layers: 1."""
    rf, jump = 1, 1
    for kernel, stride in layers:
        _each("receptive_field", dict(kernel=1, stride=1), kernel=kernel, stride=stride)
        rf, jump = rf + (kernel - 1) * jump, jump * stride
    return rf


class Row(NamedTuple):
    """One call of a layer, or an operation of a forward() itself; numbers of one sample."""
    path: str
    type: str
    output_shape: Shape
    parameters: int                         # counted where they are used first
    multiply_adds: int
    activation_bytes: int
    receptive_field: Shape | str | None     # (rows, columns) of input pixels, "all", or None: not known


class Summary:
    """The rows of a network, and their totals; print it for a table."""

    def __init__(self, rows: list[Row], input_shapes: list[Shape], parameters: int, trainable: int) -> None:
        self.rows, self.input_shapes, self.parameters, self.trainable = rows, input_shapes, parameters, trainable
        self.multiply_adds = sum(r.multiply_adds for r in rows)
        self.activation_bytes = sum(r.activation_bytes for r in rows)

    def __str__(self) -> str:
        head = ("Layer", "Type", "Output", "Parameters", "Multiply-adds", "Activations", "Sees")
        lines = [(r.path or "(model)", r.type, shape_text(r.output_shape), f"{r.parameters:,}", f"{r.multiply_adds:,}",
                  bytes_text(r.activation_bytes), _field(r.receptive_field)) for r in self.rows]
        total = ("Total", "", "", f"{self.parameters:,}", f"{self.multiply_adds:,}", bytes_text(self.activation_bytes), "")
        head, *lines, total = aligned([head, *lines, total], 3)
        rule = "-" * len(head)
        note = f"Input {', '.join(map(shape_text, self.input_shapes))}. Multiply-adds and activations are those of one sample; "
        note += "'Sees' is the receptive field in input pixels."
        if self.trainable != self.parameters:
            note += f" {self.trainable:,} of the parameters are trained."
        return "\n".join([head, rule, *lines, rule, total, note])

    __repr__ = __str__


def aligned(rows: Sequence[Sequence[str]], left: int) -> list[str]:
    """Lines of text from rows of strings: the first `left` columns flush left, the others right."""
    widths = [max(map(len, column)) for column in zip(*rows)]
    return ["  ".join(c.ljust(w) if i < left else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths))).rstrip()
            for row in rows]


def shape_text(shape: Sequence[int]) -> str:
    """(N, C, H, W) of a per-sample shape."""
    return f"({', '.join(map(str, ('N', *shape)))})"


def _field(field: Any) -> str:
    return "?" if field is None else field if isinstance(field, str) else "x".join(map(str, field))


def bytes_text(n: float) -> str:
    """Bytes in the unit that suits them: 13.5 KB."""
    for unit in ("B", "KB", "MB"):
        if n < 1024:
            break
        n, unit = n / 1024, {"B": "KB", "KB": "MB", "MB": "GB"}[unit]
    return f"{n:,} B" if unit == "B" else f"{n:,.1f} {unit}"


def summary(model: Module, input_shape: Sequence[int] | Sequence[Sequence[int]], dtype: DTypeLike | None = None) -> Summary:
    """A Summary of the model on inputs of `input_shape`, (C, H, W) without the batch, or a list of such for several inputs.
    `dtype` is that of the inputs, the parameters' by default: np.int64 for a model that begins with an Embedding.

    Traces one call: any Module works, and operations that its forward() does itself are rows too. Activations: the numbers of
    each row's results; a step stores fewer where layers are fused. Receptive field: `receptive_field` along the graph, the
    larger of branches; "all" from where a value is no image any more; None, printed "?", after an operation that changes an
    image's size and is not in WINDOWS. What a normalisation sees of the image is not counted."""
    several = input_shape and isinstance(input_shape[0], (tuple, list))
    shapes: list[Shape] = [tuple(s) for s in (input_shape if several else [input_shape])]        # type: ignore[arg-type]
    for shape in shapes:
        _each("summary", dict(input_shape=1), input_shape=shape)
    number = next((p.data.dtype for p in model.parameters()), np.dtype(np.float32))
    values = [as_value(np.zeros((1, *shape), dtype or number)) for shape in shapes]
    out, calls = trace(model, values)
    ends = [v.node for v in (out if isinstance(out, (tuple, list)) else (out,))]
    order = topological(ends)
    place, fields = {n: i for i, n in enumerate(order)}, _fields(order)
    seen: set[int] = set()
    rows = []
    for path, kind, nodes, results in sorted((c for c in calls if c[3][-1] in place), key=lambda c: place[c[3][-1]]):
        fresh = [p for n in nodes for p in n.op.params
                 if not (id(p) in seen or seen.add(id(p)))]         # type: ignore[func-returns-value]
        rows.append(Row(path, kind, results[-1].shape, sum(p.data.size for p in fresh), sum(map(multiply_adds, nodes)),
                        sum(math.prod(n.shape) for n in results if n in nodes) * number.itemsize, fields[results[-1]]))
    sizes = [(p.data.size, p.requires_grad) for p in model.parameters()]
    return Summary(rows, shapes, sum(n for n, _ in sizes), sum(n for n, trained in sizes if trained))


def trace(model: Module, values: Sequence[Value]) -> tuple[Any, list[tuple[str, str, list[Node], list[Node]]]]:
    """(what the model gives on traced values, the calls of layers in it: [(path, kind, nodes, nodes of the result)]).

    A module that holds others and computes something itself has a call for each operation of its own."""
    calls, claimed, names = [], {v.node for v in values}, {id(m): n for n, m in model.named_modules()}

    def watch(module: Module, inputs: Any, out: Any) -> None:
        ends = [v.node for v in (out if isinstance(out, (tuple, list)) else (out,)) if isinstance(v, Value)]
        leaf = not module._modules
        new = between({v.node for v in inputs}, ends) - claimed
        claimed.update(new)
        groups = [list(new)] if leaf else [[n] for n in new]
        for nodes in groups:
            kind = type(module).__name__ if leaf else type(nodes[0].op).__name__
            calls.append((names.get(id(module), "?"), kind, nodes, ends if leaf else nodes))
    modules._watchers.append(watch)
    try:
        return model(*values), calls
    finally:
        modules._watchers.remove(watch)


def _lookup(table: Any, op: Any) -> Any:
    return next((table[c] for c in type(op).__mro__ if c in table), None)


def multiply_adds(node: Node) -> int:
    """Multiply-adds of a sample in a node of the graph."""
    if isinstance(node.op, MatMul):
        return math.prod(node.shape) * node.inputs[0].shape[-1]
    count = _lookup(MULTIPLY_ADDS, node.op)
    if count is None and any(p.data.ndim > 1 for p in node.op.params):
        raise TypeError(f"summary: expected the multiply-adds of {type(node.op).__name__}, which has weights, in MULTIPLY_ADDS,"
                        f" got none")
    return count(node.op, node.inputs[0].shape if node.inputs else (), node.shape) if count else 0


def _fields(order: Sequence[Node]) -> dict[Node, Any]:
    """The receptive field of every node, as in Row."""
    walks: dict[Node, Any] = {}                         # node: ((rf, jump) of rows, of columns), "all" or None
    for node in order:
        inputs = [i for i in node.inputs if not isinstance(i.op, Constant)]
        window, before = _lookup(WINDOWS, node.op), [walks[i] for i in inputs]
        if len(node.shape) != 3 or "all" in before:
            walks[node] = "all"
        elif not node.inputs:
            walks[node] = ((1, 1), (1, 1))
        elif None in before or not window and any(i.shape[1:] != node.shape[1:] for i in inputs):
            walks[node] = None
        else:
            walk = tuple(max(axis) for axis in zip(*before))
            if window:
                walk = tuple((rf + (k - 1) * jump, jump * s) for (rf, jump), k, s in zip(
                    walk, *window(node.op, node.inputs[0].shape)))
            walks[node] = walk
    return {node: tuple(math.ceil(rf) for rf, _ in walk) if isinstance(walk, tuple) else walk for node, walk in walks.items()}
