"""Numbers in other places: permutations, slices, padding, broadcasting; copies by kernels/elementwise.pxi."""
from ..errors import ShapeError
from .base import Op
from .walk import broadcast, spread, strides, walk


class Permute(Op):
    """Per-sample dimensions in the order `dims`."""

    def __init__(self, dims):
        self.dims = dims

    def shape(self, x):
        return tuple(x[d] for d in self.dims)

    def _turned(self, layout, shape):
        own = strides(layout, shape)
        return layout.start, tuple(own[d] for d in self.dims)

    def forward(self, b, node):
        x, to = node.inputs[0], node.shape
        walk(b, "forward", "affine", to, spread(b.value(node), to, to), self._turned(b.value(x), x.shape))

    def backward(self, b, node, dy):
        x, to = node.inputs[0], node.shape
        dx, add = b.into(x)
        walk(b, "backward", "affine", to, self._turned(dx, x.shape), spread(dy, to, to), add=add)


class Expand(Op):
    """The same numbers, repeated along dimensions of size 1 (or missing in front) up to the shape `to`."""

    def __init__(self, to):
        self.to = to

    def shape(self, x):
        if broadcast("expand", x, self.to) != self.to:
            raise ShapeError(f"expand: expected a shape that broadcasts to (N, {', '.join(map(str, self.to))}), got "
                             f"(N, {', '.join(map(str, x))})")
        return self.to

    def forward(self, b, node):
        x, to = node.inputs[0], node.shape
        walk(b, "forward", "affine", to, spread(b.value(node), to, to), spread(b.value(x), x.shape, to))

    def backward(self, b, node, dy):
        x, to = node.inputs[0], node.shape
        dx, add = b.into(x)
        walk(b, "backward", "affine", to, spread(dx, x.shape, to), spread(dy, to, to), add=add)


class Window(Op):
    """A box of a larger value: where it starts along each of the larger value's per-sample dimensions, and its steps."""

    def _box(self, layout, large, kept):
        # (start, strides) of the box along the dimensions that are kept
        own = strides(layout, large)
        return layout.start + sum(a * s for a, s in zip(self.starts, own)), tuple(own[d] * self.steps[d] for d in kept)


class Slice(Window):
    """x[starts + i steps], `sizes` numbers along each dimension; None drops the dimension."""

    def __init__(self, starts, steps, sizes):
        self.starts, self.steps, self.sizes = starts, steps, sizes

    def shape(self, x):
        return tuple(n for n in self.sizes if n is not None)

    def _cut(self, layout, x):
        return self._box(layout, x.shape, [d for d, n in enumerate(self.sizes) if n is not None])

    def forward(self, b, node):
        x, to = node.inputs[0], node.shape
        walk(b, "forward", "affine", to, spread(b.value(node), to, to), self._cut(b.value(x), x))

    def backward(self, b, node, dy):
        x, to = node.inputs[0], node.shape
        dx, add = b.into(x)
        if not add:
            walk(b, "backward", "fill", x.shape, (dx.start, strides(dx, x.shape)))
        walk(b, "backward", "affine", to, self._cut(dx, x), spread(dy, to, to), add=add)


class Pad(Window):
    """x with `before` and `after` numbers of `value` around it, along each per-sample dimension."""

    def __init__(self, before, after, value):
        self.starts, self.after, self.value = before, after, value
        self.steps = (1,) * len(before)

    def shape(self, x):
        return tuple(p + d + q for p, d, q in zip(self.starts, x, self.after))

    def forward(self, b, node):
        x, y, to = node.inputs[0], b.value(node), node.shape
        walk(b, "forward", "fill", to, spread(y, to, to), beta=self.value)
        walk(b, "forward", "affine", x.shape, self._box(y, to, range(len(to))), spread(b.value(x), x.shape, x.shape))

    def backward(self, b, node, dy):
        x = node.inputs[0]
        dx, add = b.into(x)
        walk(b, "backward", "affine", x.shape, spread(dx, x.shape, x.shape), self._box(dy, node.shape, range(len(node.shape))),
             add=add)
