"""Every operation, forward and backward, against its float64 reference, on every build, around the size of a shard."""
import numpy as np
import pytest
import reference as ref
from cases import CASES
from numpy.testing import assert_allclose, assert_array_equal

import lanewise as lw
from lanewise import _isa, nn, nodes
from lanewise.graph import as_value

EVERY = pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)


def batch_sizes(dtype):
    """1, LANES-1, LANES, LANES+1."""
    lanes = _isa.engine(dtype.name).lanes
    return sorted({1, lanes - 1, lanes, lanes + 1})


def tolerance(dtype, reduction):
    """Rounding errors of a sum of `reduction` products of numbers around 1, ten times over."""
    return 10 * np.finfo(dtype).eps * np.sqrt(reduction) + 4 * np.finfo(dtype).eps * reduction ** 0.5


def build(case, dtype, rng, integers=False):
    """The case's module with random parameters of a number type."""
    model = case.make()
    if dtype == np.float64:
        model.double()
    for p in model.parameters():
        p.data = rng.integers(-3, 4, p.shape) if integers else rng.standard_normal(p.shape) * 0.5
    return model


def run(model, arrays):
    """Call a model on leaves that want gradients: (value, leaves)."""
    leaves = [lw.tensor(a, requires_grad=True) for a in arrays]
    return model(*leaves), leaves


def backward(out, target):
    """Backward of sum (out - target)^2: dL/dout = 2 (out - target)."""
    loss = nn.MSELoss(reduction="sum")(out, target)
    loss.backward()
    return loss.item()


@EVERY
def test_forward_matches_the_reference(case, isa, dtype, rng):
    model = build(case, dtype, rng)
    for n in batch_sizes(dtype):
        arrays = [rng.standard_normal((n, *s)).astype(dtype) for s in case.shapes]
        out = model(*arrays)
        expected = case.reference(*(a.astype(np.float64) for a in arrays), *(p.data.astype(np.float64) for p in model.parameters()))
        assert out.shape == expected.shape and out.numpy().dtype == dtype
        assert_allclose(out.numpy(), expected, rtol=0, atol=tolerance(dtype, case.reduction) * max(1, np.abs(expected).max()))


@EVERY
def test_gradient_matches_differences_of_the_reference(case, isa, rng):
    """Along random directions of every input and parameter, on the float64 build: (L(v + e d) - L(v - e d)) / 2e = <dL, d>."""
    dtype = np.dtype(np.float64)
    model = build(case, dtype, rng)
    params = list(model.parameters())
    for n in batch_sizes(dtype):
        arrays = [rng.standard_normal((n, *s)) for s in case.shapes]
        numbers = [*arrays, *(p.data.copy() for p in params)]
        target = rng.standard_normal(case.reference(*numbers).shape)
        for p in params:
            p.grad = None
        out, leaves = run(model, arrays)
        backward(out, target)
        grads = [*(leaf.grad for leaf in leaves), *(p.grad for p in params)]
        for i, grad in enumerate(grads):
            assert grad.shape == numbers[i].shape
            for _ in range(2):
                d = rng.standard_normal(grad.shape)
                sides = []
                for step in (1e-6, -1e-6):
                    moved = list(numbers)
                    moved[i] = numbers[i] + step * d
                    sides.append(((case.reference(*moved) - target) ** 2).sum())
                slope = (sides[0] - sides[1]) / 2e-6
                assert (grad * d).sum() == pytest.approx(slope, rel=2e-6, abs=2e-6 * max(1, np.abs(sides[0])))


@EVERY
def test_float32_gradient_matches_float64(case, isa, rng):
    """The float32 build's gradients against the float64 build's, which the test above holds to the reference."""
    single = np.dtype(np.float32)
    for n in batch_sizes(single):
        arrays = [rng.standard_normal((n, *s)).astype(single) for s in case.shapes]
        results = []
        for dtype in (single, np.dtype(np.float64)):
            model = build(case, dtype, np.random.default_rng(7))
            out, leaves = run(model, [a.astype(dtype) for a in arrays])
            backward(out, np.zeros(out.shape, dtype))
            results.append([*(leaf.grad for leaf in leaves), *(p.grad for p in model.parameters())])
        for a, b in zip(*results):
            assert_allclose(a, b, rtol=0, atol=tolerance(single, case.reduction * n) * max(1, np.abs(b).max()))


@pytest.mark.parametrize("case", [c for c in CASES if c.integers], ids=lambda c: c.name)
def test_exact_on_integers(case, isa, dtype, rng, direct):
    """Sums and products of small integers have no rounding: forward and gradients are equal to the last bit."""
    model, exact = build(case, dtype, rng, integers=True), build(case, np.dtype(np.float64), np.random.default_rng(2026), integers=True)
    for n in batch_sizes(dtype):
        arrays = [rng.integers(-4, 5, (n, *s)).astype(dtype) for s in case.shapes]
        expected = case.reference(*(a.astype(np.float64) for a in arrays), *(p.data.astype(np.float64) for p in model.parameters()))
        target = rng.integers(-4, 5, expected.shape).astype(dtype)
        grads = []
        for m, kind in ((model, dtype), (exact, np.dtype(np.float64))):
            for p, q in zip(m.parameters(), model.parameters()):
                p.data, p.grad = q.data, None
            out, leaves = run(m, [a.astype(kind) for a in arrays])
            assert_array_equal(out.numpy(), expected)
            backward(out, target.astype(kind))
            grads.append([*(leaf.grad for leaf in leaves), *(p.grad for p in m.parameters())])
        for a, b in zip(*grads):
            assert_array_equal(a, b)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_cross_entropy(isa, dtype, rng, reduction):
    for n in batch_sizes(dtype):
        x, y = (4 * rng.standard_normal((n, 7))).astype(dtype), rng.integers(0, 7, n)
        leaf = lw.tensor(x, requires_grad=True)
        loss = nn.CrossEntropyLoss(reduction=reduction)(as_value(leaf), y)
        loss.backward()
        scale = n if reduction == "mean" else 1
        expected = ref.cross_entropy(x.astype(np.float64), y)
        assert loss.item() == pytest.approx(expected.sum() / scale, rel=20 * float(np.finfo(dtype).eps))
        d = ref.softmax(x.astype(np.float64))
        d[np.arange(n), y] -= 1
        assert_allclose(leaf.grad, d / scale, rtol=0, atol=20 * np.finfo(dtype).eps)
        assert loss.correct == (x.argmax(1) == y).sum()


def test_cross_entropy_takes_any_range(isa, dtype):
    """Scores of a thousand do not overflow; a tie counts for the first class only, as argmax has it."""
    x = np.array([[1000, 0, -1000], [-1000, -1000, -1000], [5, 5, 0]], dtype)
    loss = nn.CrossEntropyLoss(reduction="sum")(as_value(x), np.array([0, 1, 1]))
    assert loss.item() == pytest.approx(np.log(3) + np.log(2 + np.exp(-5.0)), rel=1e-6)
    assert loss.correct == 1


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_mse(isa, dtype, rng, reduction):
    for n in batch_sizes(dtype):
        x, t = rng.standard_normal((2, n, 3, 2, 2)).astype(dtype)
        leaf = lw.tensor(x, requires_grad=True)
        loss = nn.MSELoss(reduction=reduction)(as_value(leaf), t)
        loss.backward()
        d = x.astype(np.float64) - t
        scale = d.size if reduction == "mean" else 1
        assert loss.item() == pytest.approx((d ** 2).sum() / scale, rel=20 * float(np.finfo(dtype).eps))
        assert_allclose(leaf.grad, 2 * d / scale, rtol=0, atol=20 * np.finfo(dtype).eps)


@pytest.mark.parametrize("layer", [nn.ReLU(), nn.MaxPool2d(2), nn.MaxPool2d(3, 1, 1)], ids=repr)
def test_nan_passes(layer, isa, dtype, rng):
    x = rng.standard_normal((3, 2, 4, 4)).astype(dtype)
    x[1, 0, 1, 1] = np.nan
    out = layer(x).numpy()
    assert np.isnan(out[1, 0]).any() and not np.isnan(out[1, 1]).any() and not np.isnan(out[[0, 2]]).any()


def test_relu_and_pool_at_their_kinks(isa):
    """ReLU's gradient at 0 is 0; a tie in a window goes to its first cell, with the ReLU before the pool or fused."""
    leaf = lw.tensor(np.zeros((1, 1, 2, 2), np.float32), requires_grad=True)
    nn.MSELoss("sum")(nn.ReLU()(leaf), np.ones((1, 1, 2, 2), np.float32)).backward()
    assert_array_equal(leaf.grad, 0)
    leaf = lw.tensor(np.ones((1, 1, 2, 2), np.float32), requires_grad=True)
    nn.MSELoss("sum")(nn.MaxPool2d(2)(leaf), np.zeros((1, 1, 1, 1), np.float32)).backward()
    assert_array_equal(leaf.grad, [[[[2, 0], [0, 0]]]])


def test_every_op_is_in_the_table():
    """An operation that no case reaches fails here."""
    import importlib
    import pkgutil

    from lanewise.graph import Value, topological
    from lanewise.nodes.base import Op
    reached = set()
    for case in CASES:
        out = case.make()(*(as_value(np.ones((2, *s), np.float32)) for s in case.shapes))
        reached |= {type(node.op) for node in topological([out.node])}
    elsewhere = {"ConvMaxPool": "test_graph.py", "BatchNorm": "test_batchnorm.py", "Dropout": "test_batchnorm.py",
                 "Own": "test_own.py", "Embedding": "test_embedding.py"}
    bases = {"Op", "Pool2d", "Unary", "Binary", "Window", "_SampleNorm"}
    for info in pkgutil.iter_modules(nodes.__path__):
        module = importlib.import_module(f"lanewise.nodes.{info.name}")
        for name, op in vars(module).items():
            if isinstance(op, type) and issubclass(op, Op) and op.__module__ == module.__name__ and name not in bases:
                assert op in reached or name in elsewhere, f"{name} has no case in tests/cases.py"
    assert isinstance(out, Value)
