"""Traced values: calling modules on a Value records nodes; nothing is computed until a number is asked for."""
from __future__ import annotations

import math
from typing import TYPE_CHECKING, overload

import numpy as np

from ._kernels.step import Feed, leaf, not_numbers, pass_through, plan_for
from .errors import DtypeError, ShapeError
from .loss import Loss as Loss
from .nodes.constant import Constant
from .nodes.reshape import Concat, Reshape
from .operators import Arithmetic
from .parameter import Parameter

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from numpy.typing import ArrayLike

    from ._types import Array, Operand, Shape
    from .data.augment import Augment


class Node:
    """One operation on per-sample arrays: `op`, the nodes it reads, the shape of its result without the batch.

    `made`: where the node is kept for later calls, what apply() has made of it as the first such input; else None."""
    __slots__ = ("op", "inputs", "shape", "plans", "made")
    shape: Shape
    plans: dict[Any, Any]
    made: dict[Any, Node] | None

    def __init__(self, op: Any, inputs: tuple[Node, ...], kept: bool = False) -> None:
        self.op, self.inputs, self.plans, self.made = op, inputs, {}, {} if kept else None
        self.shape = op.shape(*(i.shape for i in inputs))


def topological(outputs: Sequence[Node]) -> list[Node]:
    """All nodes that the outputs need, inputs first."""
    order, seen, stack = [], set(), [(n, False) for n in reversed(outputs)]
    while stack:
        node, done = stack.pop()
        if done:
            order.append(node)
        elif id(node) not in seen:
            seen.add(id(node))
            stack.append((node, True))
            stack.extend((i, False) for i in reversed(node.inputs) if id(i) not in seen)
    return order


def between(inputs: Any, outputs: Iterable[Node]) -> set[Node]:
    """The nodes that the outputs need beyond the inputs."""
    found, stack = set(), list(outputs)
    while stack:
        node = stack.pop()
        if node not in inputs and node not in found:
            found.add(node)
            stack.extend(node.inputs)
    return found


class Input:
    """A leaf: what the caller binds. uint8 is scaled as x * scale[c] + shift[c] on its way into lanes, and changed there as
    `augment`, an Augment, says; int64, indices, stay outside, and the operation that looks them up reads them there."""
    params = ()

    def __init__(self, shape: Shape, kind: str, scale: tuple[float, ...] | None = None, wants_grad: bool = False,
                 augment: Augment | None = None) -> None:
        self._shape, self.kind, self.scale, self.wants_grad, self.augment = shape, kind, scale, wants_grad, augment

    def key(self) -> tuple[Any, ...]:
        return ("input", self._shape, self.kind, self.scale, self.wants_grad, self.augment)

    def shape(self) -> Shape:
        return self._shape

    def borders(self, node: Node) -> tuple[Any, ...]:
        return ()

    def fits(self, shape: Shape) -> bool:
        """Whether it can come in another shape, without gradient: numbers in their order, whose scale is that of all."""
        return (self.kind != "int64" and not self.wants_grad and self.augment is None and
                (self.scale is None or len(self.scale) == 2 and len(shape) != 3))


class Tensor:
    """An array whose gradient is wanted: `x = lw.tensor(array, requires_grad=True)`; after backward(), `x.grad`."""

    def __init__(self, data: ArrayLike, requires_grad: bool = False) -> None:
        self.data = np.asarray(data)
        self.requires_grad = requires_grad
        self.grad: Array | None = None
        self.shape, self.dtype = self.data.shape, self.data.dtype

    def as_leaf(self) -> tuple[tuple[Any, ...], Feed]:
        """What leaf() asks: the signature of the input, and what is bound to it."""
        return leaf(self.data, self if self.requires_grad else None)


def tensor(data: ArrayLike, requires_grad: bool = False) -> Tensor:
    """A leaf from an array, (N, ...) float32, float64 or uint8; with requires_grad its gradient is left in `.grad`."""
    if requires_grad and np.asarray(data).dtype.kind != "f":
        raise DtypeError(f"tensor: requires_grad needs a floating-point array, got {np.asarray(data).dtype}")
    return Tensor(data, requires_grad)


MOST_MADE = 32          # of one node, kept by it
SMALL = 4               # samples up to which small.py is asked: a quarter of the widest build's lanes


def refuse_indices(node: Node) -> None:
    """DtypeError for an input of integers, which only an Embedding takes."""
    if isinstance(node.op, Input) and node.op.kind == "int64":
        raise not_numbers("int64")


class Value(Arithmetic):
    """The result of a traced call: has torch's shape, and numbers when asked for (`numpy()`, `np.asarray`).

    `n`: the batch size; None for a value of parameters alone, which is the same for every sample."""

    _result: Array | None = None

    def __init__(self, node: Node, feeds: dict[Node, Feed], n: int | None, train: bool = True) -> None:
        self.node, self.feeds, self.n, self.train = node, feeds, n, train

    @property
    def shape(self) -> Shape:
        """(N, ...), the batch first."""
        return self.node.shape if self.n is None else (self.n, *self.node.shape)

    @property
    def ndim(self) -> int:
        """Dimensions, with the batch."""
        return len(self.shape)

    @overload
    def size(self, dim: None = None) -> Shape: ...
    @overload
    def size(self, dim: int) -> int: ...
    def size(self, dim: int | None = None) -> int | Shape:
        """The shape, or one dimension of it, as in PyTorch."""
        return self.shape if dim is None else self.shape[dim]

    def __repr__(self) -> str:
        return f"Value(shape={self.shape})"

    def __len__(self) -> int:
        return self.n                                   # type: ignore[return-value]  # TypeError for None

    def numpy(self) -> Array:
        """The numbers: (N, ...) array. Runs the forward pass unless a loss on this value already has."""
        if self._result is None and not self.train and self.n is not None and self.n <= SMALL:
            from . import small
            self._result = small.forward(self.node, self.feeds, self.n)
        return self.in_lanes() if self._result is None else self._result

    def in_lanes(self) -> Array:
        """The numbers as numpy() gives them, by the engine for a few samples too: those of a sample are then the same to the
        last bit in a batch of any size, and take longer."""
        plan, feeds = plan_for([self.node], [], False, self.feeds)
        result = plan.run(feeds, self.n or 1)[0][0]
        self._result = result[0] if self.n is None else result
        return self._result

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return np.asarray(self.numpy(), dtype)

    @overload
    def argmax(self, axis: None = None) -> int: ...
    @overload
    def argmax(self, axis: int) -> Array: ...
    def argmax(self, axis: int | None = None) -> Any:
        """NumPy's argmax of the numbers."""
        return self.numpy().argmax(axis)

    def reshape(self, *shape: Any) -> Value:
        """The same numbers in another per-sample shape; the first dimension stays the batch (its size or -1)."""
        shape = tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape
        if not shape or shape[0] not in (self.n, -1) or (shape[0] == -1 and -1 in shape[1:]):
            raise ShapeError(f"reshape: expected the batch ({self.n}) as the first dimension, got {shape}")
        size = math.prod(self.node.shape)
        rest = list(shape[1:])
        if rest.count(-1) == 1:
            known = int(math.prod([d for d in rest if d != -1]))
            rest[rest.index(-1)] = size // known if known else 0
        if not rest or math.prod(rest) != size or min(rest) < 1:
            raise ShapeError(f"reshape: {shape} does not hold the {size} numbers of a sample of shape {self.node.shape}")
        return self if tuple(rest) == self.node.shape else apply(Reshape(tuple(rest)), self)

    view = reshape

    def flatten(self, start_dim: int = 1, end_dim: int = -1) -> Value:
        """Join dimensions start_dim to end_dim (torch.flatten); the batch stays."""
        last = end_dim % self.ndim
        if not 1 <= start_dim <= last:
            raise ShapeError(f"flatten: expected 1 <= start_dim <= end_dim, got {start_dim} and {end_dim}")
        shape = self.shape
        return self.reshape(*shape[:start_dim], math.prod(shape[start_dim:last + 1]), *shape[last + 1:])


def copy_graph(node: Node, feeds: dict[Node, Feed], taken: set[Node]) -> tuple[Node, dict[Node, Feed]]:
    """The same graph with inputs of its own, where an input of it is already bound to something else."""
    new, fresh = {}, {}
    for old in topological([node]):
        if isinstance(old.op, Input):
            new[id(old)] = Node(old.op, ()) if old in taken else old
            if old in feeds:
                fresh[new[id(old)]] = feeds[old]
        else:
            new[id(old)] = Node(old.op, tuple(new[id(i)] for i in old.inputs))
    return new[id(node)], fresh


def merge(values: Sequence[Value]) -> tuple[list[Node], dict[Node, Feed], int | None]:
    """The nodes of several values, the union of what is bound to their inputs, and the batch size."""
    if len(values) == 1:
        v, = values
        return [v.node], v.feeds, v.n
    nodes: list[Node] = []
    feeds: dict[Node, Feed] = {}
    n = next((v.n for v in values if v.n is not None), None)
    for v in values:
        if v.n not in (n, None):
            raise ShapeError(f"expected values of one batch size, got {n} and {v.n}")
        node, own = v.node, v.feeds
        clash = {k for k in own if k in feeds and feeds[k] is not own[k]}
        if clash:
            node, own = copy_graph(node, own, clash)
        nodes.append(node)
        feeds.update(own)
    return nodes, feeds, n


def apply(op: Any, *values: Operand) -> Value:
    """Record `op` on traced values (arrays become leaves)."""
    values = [as_value(v) for v in values]
    if not op.takes_integers:
        for v in values:
            refuse_indices(v.node)
    if len(values) == 1:
        v = values[0]
        return Value(_made(op, (v.node,), v.feeds), v.feeds, v.n, v.train)
    nodes, feeds, n = merge(values)
    return Value(_made(op, tuple(nodes), feeds), feeds, n, any(v.train for v in values))


def _made(op: Any, inputs: tuple[Node, ...], feeds: dict[Node, Feed]) -> Node:
    # A network that is traced anew at every call makes the nodes that it has made before: then its plan is found at once. What
    # one call does twice stays two, each with its own dropout mask.
    made = next((i.made for i in inputs if i.made is not None), None)
    if made is None:
        return Node(op, inputs)
    # a parameter's node is new each time
    key = (op.key(), *[i if i.inputs or type(i.op) is Input else i.op.key() for i in inputs])
    node = made.get(key)
    if node is None:
        if len(made) >= MOST_MADE:                      # by numbers that differ at every call
            made.clear()
        node = made[key] = Node(op, inputs, True)
    return node if pass_through((node,), feeds) else Node(op, inputs)


def constant(p: Parameter, shape: Shape | None = None) -> Value:
    """The Value of a parameter, in another shape of as many numbers if one is given."""
    return Value(Node(Constant(p, p.shape if shape is None else shape), ()), {}, None)


def as_value(x: Operand) -> Value:
    """A Value from a Value, an array, a Tensor, a Batch or a Parameter."""
    if isinstance(x, Value):
        return x
    if isinstance(x, Parameter):
        return constant(x)
    signature, feed = leaf(x)
    node = Node(Input(*signature), ())
    return Value(node, {node: feed}, feed.n)


def run_dtype(nodes: Sequence[Node], feeds: dict[Node, Feed]) -> str:
    """"float32" or "float64": that of the parameters and inputs, which must agree; uint8 and indices go with either."""
    kinds: dict[str, str] = {}
    for node in topological(nodes):
        for p in node.op.params:
            kinds.setdefault(p.data.dtype.name, f"parameter '{p.name}'")
        if isinstance(node.op, Input) and node.op.kind not in ("uint8", "int64"):
            kinds.setdefault(node.op.kind, "the input")
    if len(kinds) > 1:
        (a, who_a), (b, who_b) = sorted(kinds.items())
        raise DtypeError(f"expected one number type, got {a} ({who_a}) and {b} ({who_b}): convert the input with "
                         f"x.astype(np.float32), or the model with model.double()")
    return next(iter(kinds), "float32")


def concat(values: Iterable[Operand], dim: int = 1) -> Value:
    """Join values along a dimension other than the batch (torch.cat)."""
    found = [as_value(v) for v in values]
    if not found:
        raise ShapeError("concat: expected at least one value, got none")
    axis = dim % found[0].ndim
    if axis == 0:
        raise ShapeError("concat: expected a dimension other than the batch, got 0")
    return apply(Concat(axis - 1), *found)
