"""Sums and maxima over per-sample dimensions: instructions of kernels/elementwise.pxi."""
from .base import Op
from .walk import strides, walk


class Sum(Op):
    """y = scale * sum of x over the per-sample dimensions `dims`, which stay as 1 where `keepdim` says so."""

    def __init__(self, dims, keepdim, scale):
        self.dims, self.keepdim, self.scale = dims, keepdim, scale

    def shape(self, x):
        return tuple(1 if a in self.dims else d for a, d in enumerate(x) if self.keepdim or a not in self.dims)

    def along(self, layout, node):
        """(start, strides) of the result along the input's dimensions: 0 where they are reduced."""
        own = strides(layout, node.shape)
        if not self.keepdim:
            rest = iter(own)
            own = [0 if a in self.dims else next(rest) for a in range(len(node.inputs[0].shape))]
        return layout.start, tuple(0 if a in self.dims else s for a, s in enumerate(own))

    def forward(self, b, node):
        x = node.inputs[0]
        at = b.value(x)
        walk(b, "forward", "affine", x.shape, self.along(b.value(node), node), (at.start, strides(at, x.shape)),
             alpha=self.scale)

    def backward(self, b, node, dy):
        x = node.inputs[0]
        dx, add = b.into(x)
        walk(b, "backward", "affine", x.shape, (dx.start, strides(dx, x.shape)), self.along(dy, node), add=add,
             alpha=self.scale)


class Greatest(Sum):
    """y = the greatest of x along one per-sample dimension; its gradient goes to the first winner. NaN wins."""

    def __init__(self, dim, keepdim):
        super().__init__((dim,), keepdim, 1.0)

    def _where(self, node):
        # which one won, a number for each result, in torch's order
        shape, at, steps = node.inputs[0].shape, 1, []
        for a in reversed(range(len(shape))):
            steps.append(0 if a in self.dims else at)
            at *= 1 if a in self.dims else shape[a]
        return at, tuple(reversed(steps))

    def forward(self, b, node):
        x, (size, steps) = node.inputs[0], self._where(node)
        at = b.value(x)
        walk(b, "forward", "greatest", x.shape, self.along(b.value(node), node), (at.start, strides(at, x.shape)),
             (b.saved(node, size), steps), inner=self.dims[0])

    def backward(self, b, node, dy):
        x, (_, steps) = node.inputs[0], self._where(node)
        dx, add = b.into(x)
        walk(b, "backward", "greatest_backward", x.shape, (dx.start, strides(dx, x.shape)), self.along(dy, node),
             (b.saved(node), steps), add=add, inner=self.dims[0])
