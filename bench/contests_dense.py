"""Who computes products, softmax, losses, norms and activations, and how: see contests_images.py."""
import functools
from math import prod

import naive_dense as naive
import numpy as np
import numpy_ops
from contest import Contest, torch_backward, torch_forward
from contests_images import draw

from lanewise import ops

EPS = 1e-5


def matmul(a, b):
    a, b, dy = draw(a, b, (*a[:2], b[2]))
    macs = a.size * b.shape[2]
    yield Contest("matmul", "forward", lambda: ops.matmul(a, b), (naive.matmul, a, b), lambda: a @ b,
                  lambda t: torch_forward(t, t.matmul, a, b), macs, 2 * macs, sums=a.shape[2])
    yield Contest("matmul", "backward", lambda: ops.matmul_backward(dy, a, b), (naive.matmul_backward, dy, a, b),
                  lambda: (dy @ b.swapaxes(1, 2), a.swapaxes(1, 2) @ dy),
                  lambda t: torch_backward(t, t.matmul, dy, a, b), macs, 4 * macs, sums=max(dy.shape[1:]))


def linear(x, outs):
    x, w, b, dy = draw(x, (outs, x[1]), (outs,), (x[0], outs))
    macs = x.size * outs

    def f(t):
        return t.nn.functional.linear
    yield Contest("linear", "forward", lambda: ops.linear(x, w, b), (naive.linear, x, w, b), lambda: x @ w.T + b,
                  lambda t: torch_forward(t, f(t), x, w, b), macs, 2 * macs, sums=x.shape[1])
    yield Contest("linear", "backward", lambda: ops.linear_backward(dy, x, w), (naive.linear_backward, dy, x, w),
                  lambda: (dy @ w, dy.T @ x, dy.sum(0)), lambda t: torch_backward(t, f(t), dy, x, w, b), macs, 4 * macs,
                  sums=max(x.shape))


def _softmax(name, x, dim):
    x, dy = draw(x, x)
    middle = prod(x.shape[:dim]), x.shape[dim], -1
    mine, back = getattr(ops, name), getattr(ops, name + "_backward")
    y = np.ascontiguousarray(getattr(numpy_ops, name)(x, dim))

    def f(t):
        return lambda x: getattr(t.nn.functional, name)(x, dim)
    yield Contest(name, "forward", lambda: mine(x, dim), (getattr(naive, name), x.reshape(middle)),
                  lambda: getattr(numpy_ops, name)(x, dim), lambda t: torch_forward(t, f(t), x), 3 * x.size,
                  bytes=8 * x.size, sums=x.shape[dim])
    yield Contest(name, "backward", lambda: back(dy, y, dim),
                  (getattr(naive, name + "_backward"), dy.reshape(middle), y.reshape(middle)),
                  lambda: getattr(numpy_ops, name + "_backward")(dy, y, dim), lambda t: torch_backward(t, f(t), dy, x),
                  2 * x.size, bytes=12 * x.size, sums=x.shape[dim])


def cross_entropy(x):
    x, = draw(x)
    target = np.random.default_rng(12).integers(0, x.shape[1], len(x))

    def f(t):
        labels = t.from_numpy(target)
        return lambda x: t.nn.functional.cross_entropy(x, labels)
    yield Contest("cross_entropy", "forward", lambda: ops.cross_entropy(x, target), (naive.cross_entropy, x, target),
                  lambda: numpy_ops.cross_entropy(x, target), lambda t: torch_forward(t, f(t), x), 2 * x.size,
                  bytes=4 * x.size, sums=x.size)
    yield Contest("cross_entropy", "backward", lambda: ops.cross_entropy_backward(1.0, x, target),
                  (naive.cross_entropy_backward, x, target), lambda: numpy_ops.cross_entropy_backward(x, target),
                  lambda t: torch_backward(t, f(t), np.float32(1), x), 3 * x.size, bytes=8 * x.size, sums=x.shape[1])


def batch_norm(x):
    C = x[1]
    x, dy, w, b = draw(x, x, (C,), (C,))
    flat, wide = (*x.shape[:2], -1), (C, 1, 1)
    n = x.size // C

    def f(t):
        return lambda x, w, b: t.nn.functional.batch_norm(x, None, None, w, b, True, 0.1, EPS)

    def backward():
        dx, dw, db = numpy_ops.norm_backward(dy, x, (0, 2, 3), w.reshape(wide), EPS, (0, 2, 3))
        return dx, dw, db
    yield Contest("batch_norm", "forward", lambda: ops.batch_norm(x, None, None, w, b, True, 0.1, EPS),
                  (naive.batch_norm, x.reshape(flat), w, b, EPS),
                  lambda: numpy_ops.norm(x, (0, 2, 3), w.reshape(wide), b.reshape(wide), EPS),
                  lambda t: torch_forward(t, f(t), x, w, b), 3 * x.size, bytes=8 * x.size, sums=n)
    yield Contest("batch_norm", "backward", lambda: ops.batch_norm_backward(dy, x, None, None, w, True, EPS),
                  (naive.batch_norm_backward, dy.reshape(flat), x.reshape(flat), w, EPS), backward,
                  lambda t: torch_backward(t, f(t), dy, x, w, b), 3 * x.size, bytes=12 * x.size, sums=n)


def layer_norm(x):
    F = x[1]
    x, dy, w, b = draw(x, x, (F,), (F,))

    def f(t):
        return lambda x, w, b: t.nn.functional.layer_norm(x, (F,), w, b, EPS)
    yield Contest("layer_norm", "forward", lambda: ops.layer_norm(x, (F,), w, b, EPS), (naive.layer_norm, x, w, b, EPS),
                  lambda: numpy_ops.norm(x, 1, w, b, EPS), lambda t: torch_forward(t, f(t), x, w, b), 3 * x.size,
                  bytes=8 * x.size, sums=F)
    yield Contest("layer_norm", "backward", lambda: ops.layer_norm_backward(dy, x, (F,), w, EPS),
                  (naive.layer_norm_backward, dy, x, w, EPS), lambda: numpy_ops.norm_backward(dy, x, 1, w, EPS, 0),
                  lambda t: torch_backward(t, f(t), dy, x, w, b), 4 * x.size, bytes=12 * x.size, sums=max(x.shape))


def _erf():
    from scipy.special import erf
    return erf


def _gelu_slope(x):
    return np.float32(0.5) * (1 + _erf()(x * np.float32(0.5 ** 0.5))) + x * np.exp(np.float32(-0.5) * x * x) * np.float32(
        (2 * np.pi) ** -0.5)


def _sigmoid_slope(x):
    y = numpy_ops.sigmoid(x)
    return y * (1 - y)


# name: (NumPy's function, NumPy's derivative, what the backward op takes beside dy: the input or the output)
ACTIVATIONS = {
    "relu": (lambda x: np.maximum(x, 0), lambda x: x > 0, "x"),
    "sigmoid": (numpy_ops.sigmoid, _sigmoid_slope, "y"),
    "tanh": (np.tanh, lambda x: 1 - np.square(np.tanh(x)), "y"),
    "leaky_relu": (lambda x: np.where(x > 0, x, np.float32(0.01) * x),
                   lambda x: np.where(x > 0, np.float32(1), np.float32(0.01)), "x"),
    "elu": (lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))), lambda x: np.exp(np.minimum(x, 0)), "x"),
    "gelu": (lambda x: numpy_ops.gelu(x, _erf()), _gelu_slope, "x"),
}


def _activation(name, x):
    x, dy = draw(x, x)
    forward, slope, saved = ACTIVATIONS[name]
    mine, back = getattr(ops, name), getattr(ops, name + "_backward")
    kept = x if saved == "x" else mine(x)

    def f(t):
        return getattr(t if name in ("sigmoid", "tanh") else t.nn.functional, name)
    yield Contest(name, "forward", lambda: mine(x), (LOOPS[name], x.ravel()), lambda: forward(x),
                  lambda t: torch_forward(t, f(t), x), x.size, bytes=8 * x.size)
    yield Contest(name, "backward", lambda: back(dy, kept), (LOOPS[name + "_backward"], dy.ravel(), x.ravel()),
                  lambda: dy * slope(x), lambda t: torch_backward(t, f(t), dy, x), x.size, bytes=12 * x.size)


LOOPS = {name + end: make(getattr(naive, name + end)) for name in ACTIVATIONS
         for end, make in (("", naive.pointwise), ("_backward", naive.pointwise_backward))}
CONTESTS = {"matmul": matmul, "linear": linear, "cross_entropy": cross_entropy, "batch_norm": batch_norm,
            "layer_norm": layer_norm, **{n: functools.partial(_softmax, n) for n in ("softmax", "log_softmax")},
            **{n: functools.partial(_activation, n) for n in ACTIVATIONS}}
