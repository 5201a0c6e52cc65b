"""Arithmetic on values of one shape: instructions of kernels/elementwise.pxi."""
from ..errors import ShapeError
from .base import Op, loops


def same_shape(what, a, b):
    """The common shape, or one sentence."""
    if a != b:
        raise ShapeError(f"{what}: expected two values of one shape, got (N, {', '.join(map(str, a))}) and "
                         f"(N, {', '.join(map(str, b))})")
    return a


class Add(Op):
    """y = a + b."""

    def shape(self, a, b):
        return same_shape("+", a, b)

    def forward(self, b, node):
        b.emit("forward", "add", **loops(b.value(node), b.value(node.inputs[0]), b.value(node.inputs[1])))

    def backward(self, b, node, dy):
        for x in node.inputs:
            if b.wants(x):
                dx, add = b.into(x)
                b.emit("backward", "affine", **loops(dx, dy, add=add))


class Multiply(Op):
    """y = a * b; da = dy * b, db = dy * a."""

    def shape(self, a, b):
        return same_shape("*", a, b)

    def forward(self, b, node):
        b.emit("forward", "multiply", **loops(b.value(node), b.value(node.inputs[0]), b.value(node.inputs[1])))

    def backward(self, b, node, dy):
        for x, other in (node.inputs, node.inputs[::-1]):
            if b.wants(x):
                dx, add = b.into(x)
                b.emit("backward", "multiply", **loops(dx, dy, b.value(other), add=add))


class Affine(Op):
    """y = alpha * x + beta, alpha and beta constants."""

    def __init__(self, alpha, beta):
        self.alpha, self.beta = alpha, beta

    def shape(self, x):
        return x

    def forward(self, b, node):
        b.emit("forward", "affine", **loops(b.value(node), b.value(node.inputs[0]), alpha=self.alpha, beta=self.beta))

    def backward(self, b, node, dy):
        dx, add = b.into(node.inputs[0])
        b.emit("backward", "affine", **loops(dx, dy, add=add, alpha=self.alpha))


class ReLU(Op):
    """y = max(x, 0); NaN passes; the gradient at 0 is 0."""

    def shape(self, x):
        return x

    def forward(self, b, node):
        b.emit("forward", "relu", **loops(b.value(node), b.value(node.inputs[0])))

    def backward(self, b, node, dy):
        dx, add = b.into(node.inputs[0])
        b.emit("backward", "relu_backward", **loops(dx, b.value(node), dy, add=add))
