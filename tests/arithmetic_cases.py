"""The table of operations, continued: activations, arithmetic, reductions, moves and products. See cases.py."""
import math

import numpy as np
import reference as ref
from case import Case, plain

import lanewise as lw
from lanewise import nn
from lanewise.nn import functional as F


def activation(name, reference, shapes=((3, 4, 5), (7,), (4, 6)), integers=False, **kw):
    """Cases of one activation at several shapes."""
    return [Case(f"{name} {shape} {kw or ''}", lambda: getattr(nn, name)(**kw), [shape], reference, 4, (name, (), kw), integers)
            for shape in shapes]


def learnt(name, shape, sizes, forward, reference, integers=False, reduction=4):
    """A case of one input and parameters of the given sizes: forward(x, *parameters)."""
    class Learnt(nn.Module):
        def __init__(self):
            super().__init__()
            for i, size in enumerate(sizes):
                setattr(self, f"p{i}", nn.Parameter(np.zeros(size, np.float32)))

        def forward(self, x):
            return forward(x, *(getattr(self, f"p{i}") for i in range(len(sizes))))
    return Case(name, Learnt, [shape], reference, reduction, None, integers)


def same(name, shapes, function, integers=False, reduction=4):
    """A case whose forward is its reference: the same expression on Values and on arrays."""
    return plain(name, shapes, function, function, integers, reduction)


ACTIVATIONS = [
    *activation("LeakyReLU", ref.leaky_relu), *activation("LeakyReLU", lambda x: ref.leaky_relu(x, 0.3), negative_slope=0.3),
    *activation("ELU", ref.elu), *activation("ELU", lambda x: ref.elu(x, 0.5), alpha=0.5), *activation("GELU", ref.gelu),
    *activation("GELU", ref.gelu_tanh, approximate="tanh"), *activation("SiLU", lambda x: x * ref.sigmoid(x)),
    *activation("Softplus", ref.softplus), *activation("Softplus", lambda x: ref.softplus(x, 2, 1), beta=2, threshold=1),
    *activation("Sigmoid", ref.sigmoid), *activation("Tanh", np.tanh), *activation("ReLU", ref.relu, [(4, 6)], True),
    Case("PReLU", nn.PReLU, [(3, 4, 5)], ref.prelu, 100, ("PReLU", (), {}), True),
    Case("PReLU channels", lambda: nn.PReLU(3), [(3, 4, 5)], ref.prelu, 40, ("PReLU", (3,), {}), True),
    Case("PReLU features", lambda: nn.PReLU(7), [(7,)], ref.prelu, 7, ("PReLU", (7,), {}), True),
    *(Case(f"LogSoftmax {shape}, {dim}", lambda dim=dim: nn.LogSoftmax(dim), [shape], lambda x, dim=dim: ref.log_softmax(x, dim),
           8, ("LogSoftmax", (dim,), {})) for shape, dim in (((10,), 1), ((4, 3, 2), 1), ((4, 3, 2), -1), ((5, 6), 2))),
]

FUNCTIONS = [
    plain("exp", [(3, 4, 5)], lw.exp, np.exp, reduction=30), plain("log", [(7,)], lambda a: lw.log(a * a + 0.1), lambda a: np.log(a * a + 0.1)),
    plain("sqrt", [(2, 3)], lambda a: (abs(a) + 0.3).sqrt(), lambda a: np.sqrt(abs(a) + 0.3)), same("abs", [(2, 3, 4)], abs, True),
    same("a ** 2", [(2, 3, 4)], lambda a: a ** 2, True), same("a ** 3", [(5,)], lambda a: a ** 3, True, 30),
    same("a ** -2", [(5,)], lambda a: (a * a + 0.5) ** -2, reduction=30), same("a ** 0.7", [(5,)], lambda a: (a * a + 0.5) ** 0.7),
    same("a ** 1", [(5,)], lambda a: a ** 1, True), same("a ** 0", [(5,)], lambda a: a * a ** 0, True),
    same("1 / a", [(5,)], lambda a: 3 / (a * a + 1) - a / 8, reduction=30), plain("relu()", [(5,)], lambda a: a.relu(), ref.relu, True),
    same("a / b images", [(2, 3, 4)] * 2, lambda a, b: a / (b * b + 1), reduction=30),
    same("image and channels", [(3, 4, 2), (3, 1, 1)], lambda a, b: a * b + (b - a), True, 30),
    same("image and pixels", [(1, 4, 2), (3, 1, 1)], lambda a, b: a * b - b, True, 30),
    same("image over channels", [(3, 4, 2), (3, 1, 1)], lambda a, b: a / (b * b + 1), reduction=60),
    same("vector and one", [(9,), (1,)], lambda a, b: a * b + b, True, 30),
    same("sequence and rows", [(4, 5), (1, 5)], lambda a, b: a * b - a, True, 30),
    same("four dimensions", [(2, 3, 4, 2), (2, 1, 4, 1)], lambda a, b: a * b - b, True, 60),
    same("six dimensions", [(2, 1, 2, 1, 2, 1), (1, 2, 1, 2, 1, 2)], lambda a, b: a * b - b, True, 60),
]

PARAMETERS = [
    learnt("x * channels", (3, 4, 5), [(3, 1, 1)], lambda x, p: x * p, lambda x, p: x * p, True, 400),
    learnt("x * (1, C, 1, 1)", (3, 4, 5), [(1, 3, 1, 1)], lambda x, p: x * p, lambda x, p: x * p, True, 400),
    learnt("x * image + cols", (2, 3, 5), [(2, 3, 5), (5,)], lambda x, p, q: p * x + q, lambda x, p, q: p * x + q, True, 400),
    learnt("x - features", (7,), [(7,)], lambda x, p: p - x, lambda x, p: p - x, True, 20),
    learnt("x / one", (7,), [(1,)], lambda x, p: x / (p * p + 1), lambda x, p: x / (p * p + 1), False, 400),
    learnt("a parameter twice", (4, 5), [(4, 5)], lambda x, p: x * p + p, lambda x, p: x * p + p, True, 40),
    learnt("arithmetic of parameters", (7,), [(7,), (7,)], lambda x, p, q: x * (1 - 2 * p * q),
           lambda x, p, q: x * (1 - 2 * p * q), True, 100),
    learnt("maxout", (5,), [(5, 3), (5, 3)], lambda x, p, q: lw.stack([x @ p, x @ q]).max(1),
           lambda x, p, q: np.maximum(x @ p, x @ q), True, 100),
    learnt("x @ W", (6,), [(6, 5)], lambda x, p: x @ p, lambda x, p: x @ p, True, 60),
    learnt("sequence @ W", (4, 6), [(6, 5)], lambda x, p: lw.matmul(x, p), lambda x, p: x @ p, True, 100),
    learnt("W @ sequence", (4, 6), [(3, 4)], lambda x, p: p @ x, lambda x, p: p @ x, True, 100),
    learnt("W @ images", (2, 4, 3), [(3, 4)], lambda x, p: p @ x, lambda x, p: p @ x, True, 100),
    learnt("images @ W", (2, 4, 3), [(3, 4)], lambda x, p: x @ p, lambda x, p: x @ p, True, 100),
    Case("Linear of a sequence", lambda: nn.Linear(6, 5), [(4, 6)], ref.linear, 60, ("Linear", (6, 5), {}), True),
    Case("Linear of a sequence with ReLU", lambda: nn.Sequential(nn.Linear(6, 5), nn.ReLU()), [(4, 6)],
         lambda x, w, b: ref.relu(ref.linear(x, w, b)), 60, None, True),
]

REDUCTIONS = [
    *(plain(f"sum {shape} over {dim}, {keep}", [shape], lambda a, d=dim, k=keep: a.sum(d, k),
            lambda a, d=dim, k=keep: a.sum(d, keepdims=k), True, math.prod(shape))
      for shape, dim, keep in (((3, 4, 5), 1, False), ((3, 4, 5), (2, 3), False), ((3, 4, 5), (1, 3), True), ((3, 4, 5), -1, True),
                               ((3, 4, 5), (1, 2, 3), False), ((7,), 1, True), ((4, 6), 1, False), ((2, 3, 2, 4), (1, 3), False),
                               ((2, 1, 3), 2, False))),
    plain("sum, axis=", [(4, 6)], lambda a: a.sum(axis=2, keepdim=True), lambda a: a.sum(2, keepdims=True), True, 6),
    *(plain(f"mean {shape} over {dim}", [shape], lambda a, d=dim: a.mean(d), lambda a, d=dim: a.mean(d), reduction=20)
      for shape, dim in (((3, 4, 5), (2, 3)), ((4, 6), 2), ((7,), 1))),
    *(plain(f"max {shape} over {dim}, {keep}", [shape], lambda a, d=dim, k=keep: a.max(d, k),
            lambda a, d=dim, k=keep: a.max(d, keepdims=k), True)
      for shape, dim, keep in (((3, 4, 5), 1, False), ((3, 4, 5), 3, True), ((3, 4, 5), (2, 3), False), ((7,), 1, False),
                               ((2, 3, 2, 4), 2, False), ((2, 1, 3), 2, False))),
    plain("min", [(3, 4, 5)], lambda a: a.min((1, 2)), lambda a: a.min((1, 2)), True),
]

MOVES = [
    same("transpose image", [(2, 3, 4)], lambda a: a.transpose(0, 3, 2, 1) if isinstance(a, np.ndarray) else a.transpose(1, 3), True),
    same("transpose sequence", [(3, 4)], lambda a: a.transpose(0, 2, 1) if isinstance(a, np.ndarray) else a.transpose(-1, -2), True),
    plain("permute image", [(2, 3, 4)], lambda a: a.permute(0, 3, 1, 2), lambda a: a.transpose(0, 3, 1, 2), True),
    plain("permute four", [(2, 3, 4, 2)], lambda a: a.permute((0, 4, 2, 1, 3)), lambda a: a.transpose(0, 4, 2, 1, 3), True),
    same("slice channels and rows", [(4, 5, 6)], lambda a: a[:, 1:3, ::2, 4], True),
    same("slice columns", [(2, 4, 5)], lambda a: a[:, ..., -1], True), same("slices added", [(7,)], lambda a: a[:, :4] + a[:, 3:], True),
    same("slice sequence", [(5, 4)], lambda a: a[:, 1::2, :3], True),
    plain("pad image", [(2, 3, 4)], lambda a: F.pad(a, (1, 2, 0, 1)), lambda a: np.pad(a, ((0, 0), (0, 0), (0, 1), (1, 2))), True),
    plain("pad channels with 3", [(2, 3, 4)], lambda a: F.pad(a, (0, 0, 1, 0, 2, 1), value=3),
          lambda a: np.pad(a, ((0, 0), (2, 1), (1, 0), (0, 0)), constant_values=3), True),
    plain("pad vector", [(5,)], lambda a: F.pad(a, (2, 1)), lambda a: np.pad(a, ((0, 0), (2, 1))), True),
    plain("stack vectors", [(4,)] * 2, lambda a, b: lw.stack([a, b]), lambda a, b: np.stack([a, b], 1), True),
    plain("stack images", [(2, 3, 4)] * 2, lambda a, b: lw.stack([a, b], -1), lambda a, b: np.stack([a, b], -1), True),
]

PRODUCTS = [
    *(same(f"{a} @ {b}", [a, b], lambda x, y: x @ y, True, 100)
      for a, b in (((3, 5), (5, 6)), ((1, 4), (4, 1)), ((2, 3, 5), (2, 5, 9)), ((2, 2, 3, 2), (2, 2, 2, 5)))),
    same("a @ a^T", [(7, 3)], lambda a: a @ (a.transpose(0, 2, 1) if isinstance(a, np.ndarray) else a.transpose(1, 2)), True, 100),
    plain("gram_matrix", [(3, 4, 5)], F.gram_matrix, ref.gram_matrix, reduction=20),
]

OWN = [
    Case("own operation", lambda: lw.elementwise(lambda x: x * x * 3 - x, derivative=lambda x: 6 * x - 1), [(3, 4, 5)],
         lambda x: x * x * 3 - x, 4, None, True),
    Case("own operation of two", lambda: lw.elementwise(lambda x, y: x * y, derivative=(lambda x, y: y, lambda x, y: x)),
         [(3, 4, 5), (3, 1, 1)], lambda x, y: x * y, 60, None, True),
]

CASES = OWN + ACTIVATIONS + FUNCTIONS + PARAMETERS + REDUCTIONS + MOVES + PRODUCTS
