"""Arithmetic, activations, reductions, moves and products."""
import math

from ..nodes import constant, elementwise, matmul, move, reduce, reshape, softmax
from .builder import emits


def _gelu(g, x, alpha, beta):
    half = g.add("Mul", x, g.numbers(0.5))
    return g.add("Mul", half, g.add("Add", g.add("Erf", g.add("Mul", x, g.numbers(math.sqrt(0.5)))), g.numbers(1)))


def _gelu_tanh(g, x, alpha, beta):
    cube = g.add("Mul", g.add("Pow", x, g.numbers(3)), g.numbers(0.044715))
    u = g.add("Mul", g.add("Add", x, cube), g.numbers(math.sqrt(2 / math.pi)))
    return g.add("Mul", g.add("Mul", x, g.numbers(0.5)), g.add("Add", g.add("Tanh", u), g.numbers(1)))


def _softplus(g, x, alpha, beta):
    scaled = x if alpha == 1 else g.add("Mul", x, g.numbers(alpha))
    y = g.add("Softplus", scaled)
    y = y if alpha == 1 else g.add("Div", y, g.numbers(alpha))
    return g.add("Where", g.add("Greater", scaled, g.numbers(beta)), x, y)


def _affine(g, x, alpha, beta):
    y = x if alpha == 1 else g.add("Neg", x) if alpha == -1 else g.add("Mul", x, g.numbers(alpha))
    return y if beta == 0 else g.add("Add", y, g.numbers(beta))


# names of kernels/expressions.py: (builder, x, alpha, beta) -> the result
UNARY = {
    "affine": _affine, "gelu": _gelu, "gelu_tanh": _gelu_tanh, "softplus": _softplus,
    "relu": lambda g, x, alpha, beta: g.add("Relu", x),
    "leaky_relu": lambda g, x, alpha, beta: g.add("LeakyRelu", x, alpha=alpha),
    "elu": lambda g, x, alpha, beta: g.add("Elu", x, alpha=alpha),
    "sigmoid": lambda g, x, alpha, beta: g.add("Sigmoid", x),
    "tanh": lambda g, x, alpha, beta: g.add("Tanh", x),
    "silu": lambda g, x, alpha, beta: g.add("Mul", x, g.add("Sigmoid", x)),
    "exp": lambda g, x, alpha, beta: g.add("Exp", x),
    "log": lambda g, x, alpha, beta: g.add("Log", x),
    "sqrt": lambda g, x, alpha, beta: g.add("Sqrt", x),
    "abs": lambda g, x, alpha, beta: g.add("Abs", x),
    "square": lambda g, x, alpha, beta: g.add("Mul", x, x),
    "power": lambda g, x, alpha, beta: g.add("Pow", x, g.numbers(alpha)),
}


@emits(elementwise.Unary, elementwise.ReLU, elementwise.Affine)
def unary(g, node, x):
    """A function of one number at a time."""
    return UNARY[node.op.name](g, x, node.op.alpha, node.op.beta)


BINARY = {elementwise.Add: "Add", elementwise.Subtract: "Sub", elementwise.Multiply: "Mul", elementwise.Divide: "Div",
          elementwise.PReLU: "PRelu"}


@emits(*BINARY)
def binary(g, node, a, b):
    """Per-sample shapes broadcast; the batch is not one of their dimensions."""
    return g.add(BINARY[type(node.op)], *(g.raised(x, i.shape, len(node.shape)) for x, i in zip((a, b), node.inputs)))


@emits(constant.Constant)
def parameter(g, node):
    """A parameter, the same for every sample."""
    return g.add("Reshape", g.weight(node.op.params[0]), g.integers([1, *node.shape]))


@emits(reduce.Sum)
def total(g, node, x):
    """A sum, or a mean, over per-sample dimensions."""
    op, shape = node.op, node.inputs[0].shape
    mean = op.scale == 1 / math.prod(shape[d] for d in op.dims)
    axes = [d + 1 for d in op.dims]                     # none: ONNX would reduce all
    y = g.reduce("ReduceMean" if mean else "ReduceSum", x, axes, op.keepdim) if axes else x
    return y if mean or op.scale == 1 else g.add("Mul", y, g.numbers(op.scale))


@emits(reduce.Greatest)
def greatest(g, node, x):
    """The greatest along one dimension."""
    return g.reduce("ReduceMax", x, [d + 1 for d in node.op.dims], node.op.keepdim)


@emits(softmax.Softmax, softmax.LogSoftmax)
def probabilities(g, node, x):
    """Softmax or its logarithm along one dimension."""
    return g.add("LogSoftmax" if isinstance(node.op, softmax.LogSoftmax) else "Softmax", x, axis=node.op.axis + 1)


@emits(matmul.MatMul)
def product(g, node, a, b):
    """Products of matrices, the last two dimensions."""
    return g.add("MatMul", a, b)


@emits(reshape.Reshape)
def reshaped(g, node, x):
    """Another per-sample shape."""
    return g.reshape(x, node.shape)


@emits(reshape.Concat)
def concat(g, node, *values):
    """Side by side; what is the same for every sample is repeated for each first."""
    some = [x for x, i in zip(values, node.inputs) if i not in g.alone]
    if some and len(some) < len(values):
        count = g.add("Shape", some[0], start=0, end=1)
        values = [g.add("Expand", x, g.add("Concat", count, g.integers(i.shape), axis=0)) if i in g.alone else x
                  for x, i in zip(values, node.inputs)]
    return g.add("Concat", *values, axis=node.op.axis + 1)


@emits(move.Permute)
def permute(g, node, x):
    """Dimensions in another order."""
    return g.add("Transpose", x, perm=[0, *(d + 1 for d in node.op.dims)])


@emits(move.Expand)
def expand(g, node, x):
    """Repeated along dimensions of 1."""
    return g.add("Expand", g.raised(x, node.inputs[0].shape, len(node.shape)), g.integers([1, *node.shape]))


@emits(move.Slice)
def cut(g, node, x):
    """A box, and without the dimensions that one index took."""
    op = node.op
    counts = [1 if n is None else n for n in op.sizes]
    cuts = [(a, a + (n - 1) * s + 1, d + 1, s) for d, (a, s, n, size) in enumerate(
        zip(op.starts, op.steps, counts, node.inputs[0].shape)) if n != size]
    y = g.add("Slice", x, *map(g.integers, zip(*cuts))) if cuts else x
    dropped = [d + 1 for d, n in enumerate(op.sizes) if n is None]
    return g.add("Squeeze", y, g.integers(dropped)) if dropped else y


@emits(move.Pad)
def pad(g, node, x):
    """Numbers around."""
    return g.add("Pad", x, g.integers([0, *node.op.starts, 0, *node.op.after]), g.numbers(node.op.value))
