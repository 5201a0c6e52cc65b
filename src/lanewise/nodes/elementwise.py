"""Arithmetic and activations: instructions of kernels/elementwise.pxi."""
from .base import Op
from .walk import broadcast, spread, walk


class Unary(Op):
    """y = f(x), f one of kernels/expressions.py; alpha and beta are its constants."""
    from_output = {"relu", "exp", "sqrt", "sigmoid", "tanh"}        # whose gradient reads y, not x

    def __init__(self, name, alpha=0.0, beta=0.0):
        self.name, self.alpha, self.beta = name, alpha, beta

    def shape(self, x):
        return x

    def _walk(self, b, block, name, node, y, *operands, add=0):
        shape = node.shape
        walk(b, block, name, shape, *(spread(v, shape, shape) for v in (y, *operands)), add=add, alpha=self.alpha, beta=self.beta)

    def forward(self, b, node):
        self._walk(b, "forward", self.name, node, b.value(node), b.value(node.inputs[0]))

    def backward(self, b, node, dy):
        dx, add = b.into(node.inputs[0])
        saved = b.value(node if self.name in self.from_output else node.inputs[0])
        self._walk(b, "backward", self.name + "_backward", node, dx, saved, dy, add=add)


class ReLU(Unary):
    """y = max(x, 0); NaN passes; the gradient at 0 is 0."""

    def __init__(self):
        super().__init__("relu")


class Affine(Unary):
    """y = alpha * x + beta, alpha and beta constants."""

    def __init__(self, alpha, beta):
        super().__init__("affine", alpha, beta)

    def backward(self, b, node, dy):
        dx, add = b.into(node.inputs[0])
        to = node.shape
        walk(b, "backward", "affine", to, spread(dx, to, to), spread(dy, to, to), add=add, alpha=self.alpha)


class Binary(Op):
    """y = f(a, b), broadcast as NumPy does; gradients are summed over what was broadcast. `slopes`: for a and for b the
    instruction, its operands and its factor."""
    sign = name = slopes = None

    def shape(self, a, b):
        return broadcast(self.sign, a, b)

    def forward(self, b, node):
        to = node.shape
        walk(b, "forward", self.name, to, spread(b.value(node), to, to),
             *(spread(b.value(x), x.shape, to) for x in node.inputs))

    def backward(self, b, node, dy):
        first, second = node.inputs
        places = {"dy": (dy, node.shape), "y": (b.value(node), node.shape), "a": (b.value(first), first.shape),
                  "b": (b.value(second), second.shape)}
        for x, (name, operands, alpha) in zip(node.inputs, self.slopes):
            if b.wants(x):
                dx, add = b.into(x)
                walk(b, "backward", name, node.shape, spread(dx, x.shape, node.shape),
                     *(spread(*places[o], node.shape) for o in operands), add=add, alpha=alpha)


class Add(Binary):
    """y = a + b."""
    sign, name = "+", "add"
    slopes = ("affine", ("dy",), 1.0), ("affine", ("dy",), 1.0)


class Subtract(Binary):
    """y = a - b."""
    sign, name = "-", "subtract"
    slopes = ("affine", ("dy",), 1.0), ("affine", ("dy",), -1.0)


class Multiply(Binary):
    """y = a * b; da = dy b, db = dy a."""
    sign, name = "*", "multiply"
    slopes = ("multiply", ("dy", "b"), 1.0), ("multiply", ("dy", "a"), 1.0)


class Divide(Binary):
    """y = a / b; da = dy / b, db = -dy y / b."""
    sign, name = "/", "divide"
    slopes = ("divide", ("dy", "b"), 1.0), ("divide_backward", ("dy", "y", "b"), 1.0)


class PReLU(Binary):
    """y = x where x > 0, else slope x; dslope = sum of dy x where x <= 0."""
    sign, name = "prelu", "prelu"
    slopes = ("prelu_backward", ("a", "dy", "b"), 1.0), ("prelu_slope", ("a", "dy"), 1.0)
